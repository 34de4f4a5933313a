"""A model of the user's as lung method: the contract, against a tiny model, and files that break it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from onnx_model import FLOAT, INT64, model, node, threshold_model
from scipy import ndimage

import hilum
from hilum import batch
from hilum.errors import InputError, MissingInputError, RecipeError, UnsupportedError
from hilum.geometry import Geometry
from hilum.ops.lungs.onnx import _enlarge, _largest, _shrink, body_boxes
from hilum.ops.lungs.segment import segment_lungs
from hilum.phantom.chest import make_phantom
from hilum.recipes import parse_recipe
from hilum.volume import Volume

SPACING = (5.0, 2.0, 2.0)
needs_onnxruntime = pytest.mark.skipif(
    subprocess.run([sys.executable, "-c", "import onnxruntime"], check=False, capture_output=True).returncode != 0,
    reason="onnxruntime (extra dl) cannot be imported here",
)


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / max(1, np.count_nonzero(a) + np.count_nonzero(b))


@pytest.fixture(scope="module")
def chest():
    return make_phantom(seed=4, spacing=SPACING)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny model.onnx"
    path.write_bytes(threshold_model())
    return path


@needs_onnxruntime
def test_a_model_labels_the_lungs(chest, tiny):
    mask = segment_lungs(chest.scan.ct, method=f"onnx:{tiny}")
    assert mask.geometry == chest.scan.ct.geometry
    for side in (1, 2):
        assert dice(mask.array == side, chest.lungs.array == side) > 0.9
    empty = segment_lungs(chest.scan.ct, method=f"onnx:{tiny}", fill=False)
    assert np.count_nonzero(empty.array) < np.count_nonzero(mask.array)
    again = segment_lungs(chest.scan.ct, method=f"onnx:{tiny}", workers=1)
    assert np.array_equal(mask.array, again.array)


@needs_onnxruntime
def test_the_same_patient_in_another_order_of_the_axes(chest, tiny):
    want = segment_lungs(chest.scan.ct, method=f"onnx:{tiny}").array
    turned = np.ascontiguousarray(chest.scan.ct.array.transpose(1, 2, 0)[::-1, ::-1])
    direction = ((0.0, -1.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
    geometry = Geometry(turned.shape, (SPACING[1], SPACING[2], SPACING[0]), direction=direction)
    got = segment_lungs(Volume(turned, geometry), method=f"onnx:{tiny}").array
    assert np.array_equal(got, want.transpose(1, 2, 0)[::-1, ::-1])


@needs_onnxruntime
def test_sizes_that_the_model_fixes_are_kept(chest, tmp_path):
    path = tmp_path / "fixed.onnx"
    path.write_bytes(threshold_model(columns=128, shape=(3, 1, 192, 128)))
    mask = segment_lungs(chest.scan.ct, method=f"onnx:{path}")
    assert dice(mask.array > 0, chest.lungs.array > 0) > 0.85


@needs_onnxruntime
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "0 bytes"),
        (b"this is no protobuf", "not a model"),
        (threshold_model()[:200], "not a model"),
        (model([node("Nonsense", ["x"], "y")], {}), "not a model"),
        (model([node("Identity", ["x"], "y")], {}), r"\(8, 3, 256, 256\)"),
        (model([node("Identity", ["x"], "y")], {}, inputs=(("x", ("n", 3, 256, 256)),)), "its input is"),
        (model([node("Identity", ["x"], "y")], {}, inputs=(("x", ("n", 1, 9, 9)),)), "its input is"),
        (model([node("Identity", ["x"], "y")], {}, inputs=(("x", (10**6, 1, 256, 256)),)), "its input is"),
        (model([node("Identity", ["x"], "y")], {}, inputs=(("x", ("n", 1, 256)),)), "inputs are"),
        (model([node("Identity", ["x"], "y")], {}, kinds=(INT64, INT64)), "inputs are tensor.int64"),
        (model([node("Add", ["x", "z"], "y")], {}, inputs=(("x", (1, 1, 8, 8)), ("z", (1, 1, 8, 8)))), "inputs are"),
        (model([node("Add", ["x", "z"], "y")], {"z": np.zeros((5, 3, 1, 1))}), "model failed"),
        (model([node("Add", ["x", "z"], "y")], {"z": np.full((1, 3, 1, 1), np.nan)}), "not finite"),
        (model([node("Add", ["x", "z"], "y")], {"z": np.zeros((1, 5, 1, 1))}), r"\(8, 5, 256, 256\)"),
        (model([node("Shape", ["x"], "y")], {}, kinds=(FLOAT, INT64)), "its output is int64"),
    ],
)  # fmt: skip
def test_a_file_that_breaks_the_contract_is_refused_in_one_line(chest, tmp_path, capfd, content, reason):
    path = tmp_path / "odd.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=reason) as caught:
        segment_lungs(chest.scan.ct, method=f"onnx:{path}")
    assert caught.value.code == "onnx"
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) <= 300
    assert capfd.readouterr() == ("", "")


def test_without_onnxruntime_it_says_how_to_install_it(chest, tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'hilum\[dl\]'") as caught:
        segment_lungs(chest.scan.ct, method=f"onnx:{tiny}")
    assert caught.value.code == "no-onnxruntime"


def test_a_model_that_is_not_there_is_named(chest, tmp_path):
    for path in (tmp_path / "gone.onnx", tmp_path):
        with pytest.raises(MissingInputError, match="no such model"):
            segment_lungs(chest.scan.ct, method=f"onnx:{path}")


def test_a_recipe_takes_a_model_and_no_other_name():
    assert parse_recipe('[lungs]\nmethod = "onnx:models/r231.onnx"').lungs.method == "onnx:models/r231.onnx"
    for wrong in ("onnx:", "onnx", "unet", "hilum2", "onnx:a\\nb"):
        with pytest.raises(RecipeError, match=r"lungs\.method"):
            parse_recipe(f'[lungs]\nmethod = "{wrong}"')


def test_the_fingerprint_covers_the_models_bytes(tmp_path):
    hilum.write(make_phantom(seed=1, shape=(6, 20, 20)).scan.ct, tmp_path / "a.nii")
    (ref,), _ = batch.index([tmp_path / "a.nii"])
    marks = []
    for content in (b"one", b"two", b"one"):
        (tmp_path / "m.onnx").write_bytes(content)
        marks.append(batch.input_fingerprint(ref, parse_recipe(f'[lungs]\nmethod = "onnx:{tmp_path}/m.onnx"')))
    assert marks[0] == marks[2] != marks[1]
    gone = batch.run_one(ref, parse_recipe(f'[lungs]\nmethod = "onnx:{tmp_path}/gone.onnx"'), tmp_path / "out")
    assert (gone.status, gone.code) == ("refused", "onnx")


@needs_onnxruntime
def test_a_run_and_the_command_line_take_a_model(chest, tiny, tmp_path, capsys):
    from hilum.cli import main

    hilum.write(chest.scan.ct, tmp_path / "a.nii")
    (ref,), _ = batch.index([tmp_path / "a.nii"])
    recipe = parse_recipe(f'[resample]\nspacing_mm = 4.0\n[lungs]\nmethod = "onnx:{tiny}"')
    assert batch.run_one(ref, recipe, tmp_path / "out").status in {"done", "repaired"}
    assert main(["lungs", str(tmp_path / "a.nii"), str(tmp_path / "b.nii"), "--method", f"onnx:{tiny}"]) == 0
    assert set(np.unique(hilum.read(tmp_path / "b.nii").ct.array)) == {0, 1, 2}
    (tmp_path / "bad.onnx").write_bytes(b"bad")
    capsys.readouterr()
    assert (
        main(["lungs", str(tmp_path / "a.nii"), str(tmp_path / "c.nii"), "--method", f"onnx:{tmp_path}/bad.onnx"]) == 1
    )
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "c.nii").exists()


@pytest.mark.parametrize("shape", [(300, 260), (100, 512), (1, 7), (256, 256)])
def test_planes_shrink_as_with_scipy_and_come_back(shape):
    plane = np.random.default_rng(0).integers(-1024, 600, shape).astype(np.int16)
    got = _shrink(plane, (256, 256))
    if min(shape) > 1:
        want = ndimage.zoom(plane.astype(np.float64), np.divide(256, shape), order=1)
        assert np.abs(got - (want + 1024) / 1624).max() < 1e-5
    assert got.shape == (256, 256)
    assert got.min() >= 0
    assert got.max() <= 1
    labels = (np.indices((256, 256))[0] >= 128).astype(np.uint8)
    back = _enlarge(labels, shape)
    assert back.shape == shape
    assert np.array_equal(back[:, 0], np.rint(np.linspace(0, 255, shape[0])) >= 128)


def test_the_box_of_a_plane_holds_the_body_and_not_the_table(chest):
    ct = chest.scan.ct
    boxes = body_boxes(ct.array, ct.spacing)
    rows = np.argwhere(chest.lungs.array > 0)
    for z, y, x in rows[:: len(rows) // 200]:
        assert boxes[z][0].start < y < boxes[z][0].stop
        assert boxes[z][1].start < x < boxes[z][1].stop
    middle = boxes[ct.shape[0] // 2]
    thick = ndimage.binary_opening(ct.array[ct.shape[0] // 2] > -500, iterations=4)
    body = ndimage.label(thick)[0]
    size = ndimage.find_objects((body == 1 + np.argmax(np.bincount(body.ravel())[1:])).astype(int))[0]
    for got, want in zip(middle, size, strict=True):
        assert abs(got.start - want.start) <= 4
        assert abs(got.stop - want.stop) <= 4
    air = np.full((2, 30, 40), -1000, np.int16)
    assert body_boxes(air, (5.0, 2.0, 2.0)) == [(slice(0, 30), slice(0, 40))] * 2


def test_small_pieces_take_the_label_they_touch_or_go():
    labels = np.zeros((3, 10, 40), np.uint8)
    labels[:, 2:8, 2:12], labels[:, 2:8, 25:38] = 1, 2
    labels[1, 4, 28:30] = 1  # inside the left lung
    labels[0, 9, 18] = 2  # alone
    labels[1, 5, 5] = 0  # a hole
    want = np.zeros_like(labels)
    want[:, 2:8, 2:12], want[:, 2:8, 25:38] = 1, 2
    assert np.array_equal(_largest(labels, fill=True, workers=1), want)
    want[1, 5, 5] = 0
    assert np.array_equal(_largest(labels, fill=False, workers=1), want)
