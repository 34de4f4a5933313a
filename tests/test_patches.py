"""Patches of a finished run: the volume's voxels at their world positions, and every nodule accounted for."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everybody uses
from hypothesis import given, settings
from hypothesis import strategies as st
from training_inputs import NODULES, OBLIQUE, make_run, read_index, replace_record

import hilum
from hilum import RunScan, batch, cli
from hilum.errors import AnnotationError, GeometryError, InputError, OutputError
from hilum.geometry import IDENTITY_DIRECTION
from hilum.ops.patches.boxes import cut_patch, padded_voxels
from hilum.ops.patches.shapes import make_shape
from hilum.phantom import make_phantom
from hilum.phantom.files import write_luna16
from hilum.recipes import parse_recipe
from hilum.testing import directions
from hilum.train.patch_records import PatchOptions
from hilum.train.patches import write_patches
from hilum.train.positions import PatchPosition

FLIPPED = ((0.0, 0.0, -1.0), (0.0, -1.0, 0.0), (1.0, 0.0, 0.0))


def read_back(run, name):
    return RunScan(run / "scans" / name).scan()


def world_of(row, prefix):
    return np.array([float(row[f"{prefix}_{axis}"]) for axis in "xyz"])


def check_against_volume(run, out, *, air=-1024):
    """Compare every voxel of every patch with the volume at the same world position, by the index alone."""
    summary = json.loads((out / "summary.json").read_text())
    grids = {one["scan"]: one["geometry"] for one in summary["scans"]}
    rows = read_index(out)
    for row in rows:
        image = np.load(out / row["images"])[int(row["row"])]
        mask = np.load(out / row["masks"])[int(row["row"])]
        grid, scan = grids[row["scan"]], read_back(run, row["scan"])
        offsets = np.argwhere(np.ones(image.shape, bool)) - (np.array(image.shape) - 1) / 2
        steps = offsets * grid["spacing"]
        world = world_of(row, "center_world") + steps @ np.array(grid["direction"])
        index = scan.ct.geometry.world_to_index(world)
        voxel = np.rint(index).astype(int)
        assert np.abs(index - voxel).max() < 1e-5  # a NIfTI header is float32
        inside = ((voxel >= 0) & (voxel < scan.ct.shape)).all(axis=1)
        want, label = np.full(len(voxel), air, scan.ct.array.dtype), np.zeros(len(voxel), np.uint8)
        want[inside] = scan.ct.array[tuple(voxel[inside].T)]
        label[inside] = scan.nodule_mask.array[tuple(voxel[inside].T)]
        assert np.array_equal(image.ravel(), want)
        assert np.array_equal(mask.ravel(), label)
        assert int(row["padded_voxels"]) == (~inside).sum()
        assert int(row["nodule_voxels"]) == np.count_nonzero(label)
    return rows, summary


@pytest.mark.parametrize(
    ("file_format", "direction"),
    [("npy", IDENTITY_DIRECTION), ("npy", FLIPPED), ("npy", OBLIQUE), ("nifti", OBLIQUE)],
)
def test_voxels_positions_distances_and_numbers(tmp_path, direction, file_format):
    run, out = make_run(tmp_path / "run", direction=direction, file_format=file_format), tmp_path / "out"
    options = PatchOptions(size=17, jitter_mm=4.0, per_nodule=3, negatives=5, distance_mm=6.0, seed=11)
    made = write_patches(run, out, options)
    rows, summary = check_against_volume(run, out)
    assert [int(row["patch"]) for row in rows] == list(range(len(rows)))
    positive = [row for row in rows if row["label"] == "1"]
    negative = [row for row in rows if row["label"] == "0"]
    for row in positive:
        scan = read_back(run, row["scan"])
        nodule = scan.nodules[int(row["nodule"]) - 1]
        assert world_of(row, "target_world").tolist() == pytest.approx(nodule.center)
        moved = np.linalg.inv(np.array(scan.ct.geometry.direction).T) @ (world_of(row, "center_world") - nodule.center)
        assert np.all(np.abs(moved) <= 4.0 + np.array(scan.ct.spacing) / 2 + 1e-6)
        voxel = scan.ct.geometry.world_to_index(nodule.center) - [int(row[f"start_{a}"]) for a in "zyx"]
        assert np.all((voxel >= 0) & (voxel <= 16))
        assert int(row["nodule_voxels"]) > 0
    for row in negative:
        scan = read_back(run, row["scan"])
        for nodule in scan.nodules:
            distance = np.linalg.norm(world_of(row, "center_world") - nodule.center)
            assert distance >= nodule.diameter_mm / 2 + 6.0 - 1e-9
        voxel = tuple(np.rint(scan.ct.geometry.world_to_index(world_of(row, "target_world"))).astype(int))
        assert (row["kind"], scan.lungs.array[voxel] > 0) == ("lung", True)
    # One of five nodules is outside: four times three patches, and one skip with its name.
    outside = [(s["scan"], s["nodule"]) for s in summary["skipped"] if s["code"] == "nodule-outside"]
    assert outside == [("ct-a", 3)]
    assert (len(positive), made.positives) == (3 * (5 - len(outside)), 12)
    assert {s.code for s in made.skipped} == {"nodule-outside", "not-annotated", "run-refused"}
    assert len(negative) == made.negatives == 5 * 3
    assert {row["scan"] for row in negative} == {"ct-a", "ct-b", "ct-d"}


def test_only_jitter_moves_patches(tmp_path):
    run = make_run(tmp_path / "run")
    for jitter in (0.0, 6.0):
        write_patches(run, tmp_path / str(jitter), PatchOptions(size=20, jitter_mm=jitter, negatives=0))
    still, moved = (
        [np.linalg.norm(world_of(r, "center_world") - world_of(r, "target_world")) for r in read_index(tmp_path / d)]
        for d in ("0.0", "6.0")
    )
    assert max(still) <= np.linalg.norm([2.0, 1.0, 1.5]) / 2 + 1e-9
    assert max(moved) > 3


def test_the_seed_decides_the_bytes(tmp_path):
    run = make_run(tmp_path / "run")
    for name, seed in (("one", 1), ("two", 1), ("three", 2)):
        write_patches(run, tmp_path / name, PatchOptions(size=16, seed=seed))
    files = sorted(os.listdir(tmp_path / "one"))
    assert files == sorted(os.listdir(tmp_path / "two"))
    assert all((tmp_path / "one" / n).read_bytes() == (tmp_path / "two" / n).read_bytes() for n in files)
    assert (tmp_path / "one" / "index.csv").read_bytes() != (tmp_path / "three" / "index.csv").read_bytes()


def table(folder, name, head, *rows):
    path = folder / name
    path.write_text("\n".join([f"seriesuid,coordX,coordY,coordZ,{head}", *rows, ""]))
    return path


def test_negatives_come_from_the_tables(tmp_path):
    run = make_run(tmp_path / "run")
    near = NODULES[1].center
    candidates = table(
        tmp_path, "candidates.csv", "class",
        "1.2.3.0,10,-10,10,0", "1.2.3.0,12,-12,-14,0", f"1.2.3.0,{near[0]},{near[1]},{near[2]},0",
        "1.2.3.0,3.2,1.7,-5.1,1", "1.2.3.0,900,0,0,0", "1.2.3.1,0,0,0,0", "9.9.9,0,0,0,0", "9.9.9,1,0,0,1",
    )  # fmt: skip
    excluded = table(tmp_path, "excluded.csv", "diameter_mm", "1.2.3.0,9,9,9,-1", "1.2.3.1,5,5,5,4")
    options = PatchOptions(size=8, jitter_mm=1.0, negatives=3, distance_mm=4.0)
    made = write_patches(run, tmp_path / "both", options, candidates=candidates, excluded=excluded)
    rows, _ = check_against_volume(run, tmp_path / "both")
    negative = [(r["scan"], tuple(world_of(r, "target_world"))) for r in rows if r["label"] == "0"]
    assert negative == [
        ("ct-a", (10, -10, 10)), ("ct-a", (12, -12, -14)), ("ct-a", (9, 9, 9)),
        ("ct-b", (0, 0, 0)), ("ct-b", (5, 5, 5)),
    ]  # fmt: skip
    assert [r["kind"] for r in rows if r["label"] == "0"] == [*["candidate"] * 2, "excluded", "candidate", "excluded"]
    counts = {(s.scan, s.code): s.count for s in made.skipped}
    assert counts["ct-a", "near-nodule"] == 1
    assert counts["ct-a", "candidate-outside"] == 1
    assert counts["", "other-series"] == 1
    assert counts["ct-b", "few-negatives"] == 1
    assert counts["ct-d", "few-negatives"] == 3
    few = write_patches(run, tmp_path / "few", PatchOptions(size=8, jitter_mm=1.0, negatives=1), excluded=excluded)
    assert few.negatives == 1  # that of ct-a is nearer than 20 mm to a nodule
    with pytest.raises(AnnotationError, match="column class is missing"):
        write_patches(run, tmp_path / "no", candidates=excluded)
    assert not (tmp_path / "no").exists()


def test_luna16_gives_patches_with_folds_and_its_own_candidates(tmp_path):
    chests = [make_phantom(seed=s, shape=(24, 48, 48), spacing=(13.0, 8.0, 8.0)) for s in range(3)]
    tree = write_luna16(chests, tmp_path / "tree", subsets=3, flipped=(1,), candidates=6)
    refs, _ = batch.index([tree], dataset="luna16")
    batch.run(refs, parse_recipe('[resample]\nspacing_mm = 4.0\n[output]\nformat = "npy"\n'), tmp_path / "run")
    options = PatchOptions(size=24, negatives=5, distance_mm=2.0)
    made = write_patches(tmp_path / "run", tmp_path / "out", options, kept=True)
    rows, _ = check_against_volume(tmp_path / "run", tmp_path / "out")
    found = {(r["series_uid"], r["fold"]) for r in rows}
    assert found == {(c.scan.series_uid, str(k)) for k, c in enumerate(chests)}
    for chest in chests:
        ours = [r for r in rows if r["series_uid"] == chest.scan.series_uid]
        outside = {s.nodule for s in made.skipped if s.nodule and s.scan == ours[0]["scan"]}
        positive = [r for r in ours if r["label"] == "1"]
        assert len(positive) + len(outside) == len(chest.scan.nodules)
        for row in positive:  # on flipped and unflipped scans alike
            nodule = chest.scan.nodules[int(row["nodule"]) - 1]
            assert np.allclose(world_of(row, "target_world"), nodule.center, atol=1e-6)
            assert np.abs(world_of(row, "center_world") - nodule.center).max() <= 5.0 + 2.0 + 1e-6
    truth = {r.split(",")[1][:9] for r in (tree / "candidates.csv").read_text().splitlines() if r.endswith(",0")}
    drawn = [r for r in rows if r["label"] == "0"]
    assert {r["kind"] for r in drawn} <= {"candidate", "excluded"}
    assert drawn
    assert all(any(float(t) == pytest.approx(world_of(r, "target_world")[0], abs=1e-3) for t in truth) for r in drawn)
    with pytest.raises(InputError, match="both the run's own tables and other tables"):
        write_patches(tmp_path / "run", tmp_path / "no", options, kept=True, excluded=tree / "annotations_excluded.csv")


def test_lungs_without_a_far_position_and_missing_lungs_are_named(tmp_path):
    run = make_run(tmp_path / "run")
    made = write_patches(run, tmp_path / "far", PatchOptions(size=8, jitter_mm=1.0, negatives=2, distance_mm=500.0))
    assert {(s.scan, s.count) for s in made.skipped if s.code == "few-negatives"} == {("ct-a", 2), ("ct-d", 2)}
    assert made.negatives == 2  # those of the scan without nodules
    path = run / "scans" / "ct-a" / "scan.json"
    record = json.loads(path.read_text())
    record["files"] = {name: facts for name, facts in record["files"].items() if not name.startswith("lungs")}
    record["parts"].remove("lungs")
    replace_record(run, "ct-a", record)
    made = write_patches(run, tmp_path / "bare", PatchOptions(size=8, jitter_mm=1.0, negatives=2, distance_mm=0.0))
    assert [(s.scan, s.count) for s in made.skipped if s.code == "no-lungs"] == [("ct-a", 2)]


def test_a_run_in_the_unit_range_is_padded_with_its_own_air(tmp_path):
    chest = make_phantom(seed=3, shape=(24, 48, 48), spacing=(13.0, 8.0, 8.0))
    hilum.write(chest.scan.ct, tmp_path / "1.2.3.4.mhd")
    rows = [f"1.2.3.4,{','.join(map(str, n.center))},{n.diameter_mm}" for n in chest.scan.nodules]
    annotations = table(tmp_path, "annotations.csv", "diameter_mm", *rows)
    text = '[resample]\nspacing_mm = 8.0\n[intensity]\noutput = "unit"\nmean = 0.25\n[output]\nformat = "npy"\n'
    refs, _ = batch.index([tmp_path / "1.2.3.4.mhd"], annotations=annotations)
    batch.run(refs, parse_recipe(text), tmp_path / "run")
    made = write_patches(tmp_path / "run", tmp_path / "out", PatchOptions(size=40, jitter_mm=0, negatives=1))
    found, summary = check_against_volume(tmp_path / "run", tmp_path / "out", air=-0.25)
    assert (made.positives, summary["scans"][0]["air"], summary["scans"][0]["unit"]) == (5, -0.25, "unit range")
    assert any(int(row["padded_voxels"]) for row in found)
    (tmp_path / "run" / "recipe.toml").write_text(text.replace("0.25", "0.3"))
    made = write_patches(tmp_path / "run", tmp_path / "other", PatchOptions(size=40))
    assert [(s.code, made.positives) for s in made.skipped] == [("unknown-air", 0)]


def test_the_command_prints_what_was_cut_and_left_out(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    words = ["patches", str(run), "--size", "12", "--out", str(tmp_path / "out"), "--distance-mm", "5"]
    assert cli.main(words) == 0
    output = capsys.readouterr()
    assert output.out.endswith("4 patches at nodules, 12 elsewhere, of 3 scans\n")
    assert "nodule-outside: 1 left out: its center is outside the scan: ct-a\n" in output.err
    assert "not-annotated: 1 left out" in output.err
    assert cli.main(words) == 1
    assert "give --overwrite" in capsys.readouterr().err
    assert cli.main([*words, "--overwrite", "--seed", "5"]) == 0
    capsys.readouterr()
    assert cli.main([*words, "--overwrite", "--kept"]) == 0
    assert "few-negatives: 12 left out: only 0 of 4 negatives were found: ct-a, ct-b, ct-d" in capsys.readouterr().err
    (run / "scans" / "ct-d" / "ct.npy").unlink()
    assert cli.main([*words, "--overwrite"]) == 1
    assert "damaged-scan: 1 left out: is missing or not a regular file: ct-d" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--size", "0"], "from 1 to 1024"),
        (["--size", "8,8"], "three (z, y, x)"),
        (["--size", "8,x,8"], "from 1 to 1024"),
        (["--per-nodule", "0"], "out of range"),
        (["--negatives", "-1"], "out of range"),
        (["--seed", "-1"], "negative"),
        (["--distance-mm", "nan"], "nan"),
        (["--jitter-mm", "-2"], "negative"),
        (["--size", "12", "--jitter-mm", "9"], "jitter of 9 mm: a nodule stays inside its patch up to 5 mm"),
        (["--candidates", "gone.csv"], "does not exist"),
    ],
)
def test_options_out_of_range_are_one_line(tmp_path, capsys, options, said):
    run = make_run(tmp_path / "run")
    assert cli.main(["patches", str(run), "--out", str(tmp_path / "out"), *options]) == 1
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_not_changed(tmp_path):
    run = make_run(tmp_path / "run")
    with pytest.raises(OutputError, match="not an empty folder"):
        write_patches(run, run)
    with pytest.raises(OutputError, match="among the scans"):
        write_patches(run, run / "scans" / "patches")
    assert len(os.listdir(run / "scans")) == 4
    with pytest.raises(InputError, match="no output of a run"):
        write_patches(tmp_path, tmp_path / "out")


# --- one patch ------------------------------------------------------------------------------------------------------
@settings(max_examples=60)
@given(
    st.tuples(*[st.integers(1, 9)] * 3),
    st.tuples(*[st.integers(-12, 12)] * 3),
    st.tuples(*[st.integers(1, 10)] * 3),
    directions(),
)
def test_a_patch_is_what_numpy_pads_and_crops(shape, start, size, direction):
    grid = hilum.Geometry(shape, (2.0, 0.7, 1.3), (5.0, -3.0, 9.0), direction)
    volume = hilum.Volume(np.arange(np.prod(shape), dtype=np.int16).reshape(shape), grid)
    patch = cut_patch(volume, start, size, fill=-7)
    wide = np.pad(volume.array, 40, constant_values=-7)
    want = wide[tuple(slice(a + 40, a + 40 + n) for a, n in zip(start, size, strict=True))]
    assert np.array_equal(patch.array, want)
    assert patch.array.dtype == np.int16
    assert padded_voxels(shape, start, size) == (want == -7).sum()
    assert np.allclose(patch.geometry.index_to_world((0, 0, 0)), grid.index_to_world(start))


@given(st.tuples(*[st.floats(-50, 50)] * 3), st.tuples(*[st.integers(1, 20)] * 3))
def test_a_patchs_center_is_the_nearest_there_is(center, size):
    nearest = make_shape(size).center(center)
    assert np.abs(nearest - center).max() <= 0.5 + 1e-9
    start = PatchPosition("lung", tuple(nearest.tolist()), (0.0, 0.0, 0.0)).start(size)
    assert np.array_equal(np.array(start) + (np.array(size) - 1) / 2, nearest)
    assert np.array_equal(make_shape(size, 9.0).center(center), center)


def test_an_empty_patch_is_refused():
    volume = hilum.Volume(np.zeros((2, 2, 2), np.int16), hilum.Geometry((2, 2, 2), (1, 1, 1)))
    with pytest.raises(GeometryError, match="at least 1"):
        cut_patch(volume, (0, 0, 0), (2, 0, 2))


@pytest.mark.real
def test_a_real_nodule_is_where_itk_finds_it(real_data, tmp_path):
    """Compare the patch at LUNA16's nodule of LIDC-IDRI-0314, on its own grid, with ITK."""
    source = real_data / "lidc-idri-0314" / "image"
    refs, _ = batch.index([source], annotations=real_data / "luna16" / "annotations.csv")
    text = '[orient]\naxes = "keep"\n[resample]\ngrid = "native"\n[lungs]\nmethod = "none"\n[output]\nformat = "npy"\n'
    batch.run(refs, parse_recipe(text), tmp_path / "run")
    write_patches(tmp_path / "run", tmp_path / "out", PatchOptions(size=25, jitter_mm=2.0, negatives=0))
    (row,) = read_index(tmp_path / "out")
    patch = np.load(tmp_path / "out" / row["images"])[0]
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(source), row["series_uid"], False, True)
    image = sitk.ReadImage(names)
    found = image.TransformPhysicalPointToIndex(world_of(row, "center_world").tolist())
    box = sitk.RegionOfInterest(image, [25, 25, 25], [k - 12 for k in found])
    assert np.array_equal(np.maximum(sitk.GetArrayFromImage(box), -1024), patch)
    center = box.TransformPhysicalPointToIndex(world_of(row, "target_world").tolist())
    assert patch[center[::-1]] > -300
