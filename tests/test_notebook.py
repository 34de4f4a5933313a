"""The widget of `hilum.show` holds the scan's own voxels at their own place; what cannot be shown is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import hilum
from hilum.ops.labels.overlay import COLORS
from hilum.scan import LabelMap
from hilum.testing import geometries
from hilum.viewer.notebook import _fractions

pytest.importorskip("ipyniivue")

TURN = np.deg2rad(20)
OBLIQUE = hilum.Geometry(
    (12, 20, 16),
    (2.5, 0.7, 0.9),
    (-40.0, 31.5, -210.0),
    ((0.0, -np.sin(TURN), np.cos(TURN)), (0.0, np.cos(TURN), np.sin(TURN)), (1.0, 0.0, 0.0)),  # a turn about x
)


@pytest.fixture
def scan():
    """Noise on an oblique grid, with lungs of both sides and two nodules, the first away from the middle."""
    noise = np.random.default_rng(3)
    ct = hilum.Volume(noise.integers(-1024, 3000, OBLIQUE.shape, dtype=np.int16), OBLIQUE)
    lungs = np.zeros(OBLIQUE.shape, np.uint8)
    lungs[2:9, 3:15, 2:6], lungs[2:9, 3:15, 9:14] = 1, 2
    places = [tuple(OBLIQUE.index_to_world(at).tolist()) for at in ((3, 4, 11), (8, 13, 3))]
    return hilum.Scan("1.2.3", ct, tuple(hilum.Nodule(at, 5.0) for at in places), True, hilum.Mask(lungs, OBLIQUE))


def held(widget):
    """What the front end is sent, read back by nibabel: images by name."""
    states = [volume.get_state() for volume in widget.volumes]
    return {state["name"]: nibabel.Nifti1Image.from_bytes(bytes(state["data"])) for state in states}


def check(image, volume):
    """Voxels in (x, y, z), and each voxel's center where hilum puts it, LPS against RAS."""
    got = np.asarray(image.dataobj)
    assert got.dtype == volume.array.dtype
    np.testing.assert_array_equal(got, volume.array.T)
    for corner in np.ndindex(2, 2, 2):
        index = np.array(corner) * (np.array(volume.shape) - 1)
        want = volume.geometry.index_to_world(index) * [-1, -1, 1]
        np.testing.assert_allclose(nibabel.affines.apply_affine(image.affine, index[::-1]), want, atol=1e-4)
    assert image.header.get_xyzt_units()[0] == "mm"


def test_the_widget_holds_the_scan_and_its_masks(scan):
    widget = hilum.show(scan, opacity=0.25)
    images = held(widget)
    assert list(images) == ["ct.nii", "lungs.nii", "nodules.nii"]
    check(images["ct.nii"], scan.ct)
    check(images["lungs.nii"], scan.lungs)
    check(images["nodules.nii"], hilum.mask_nodules(OBLIQUE, scan.nodules))
    assert [volume.opacity for volume in widget.volumes] == [1.0, 0.25, 0.25]
    told = widget.get_state()["opts"]
    assert (told["isRadiologicalConvention"], told["isNearestInterpolation"]) == (True, True)


def test_a_voxel_elsewhere_would_be_seen(scan):
    image = held(hilum.show(scan))["ct.nii"]
    moved = replace(OBLIQUE, origin=(-40.0, 31.5, -209.9))
    with pytest.raises(AssertionError):
        check(image, hilum.Volume(scan.ct.array, moved))
    with pytest.raises(AssertionError):
        check(image, hilum.Volume(scan.ct.array[::-1], OBLIQUE))


def test_right_is_blue_left_is_orange_nodules_are_yellow_and_background_is_clear(scan):
    _, lungs, nodules = hilum.show(scan).volumes
    assert lungs.get_state()["colormap_label"] == {
        "lut": [0, 0, 0, 0, 86, 180, 233, 255, 230, 159, 0, 255],
        "min": 0,
        "max": 2,
    }
    assert nodules.colormap_label.lut == [0, 0, 0, 0, *[240, 228, 66, 255] * 2]


def test_each_label_of_a_label_map_has_its_color_at_its_place(scan):
    labels = np.zeros(OBLIQUE.shape, np.uint8)
    labels[2:4, 3:5, 1:3], labels[4:6, 3:5, 1:3] = 4, 1
    parts = LabelMap(hilum.Mask(labels, OBLIQUE), {"upper": 4, "lower": 1})
    empty = LabelMap(hilum.Mask(np.zeros_like(labels), OBLIQUE), {"tumor": 1})
    widget = hilum.show(replace(scan, label_maps={"parts": parts, "empty": empty}))
    images = held(widget)
    assert list(images) == ["ct.nii", "lungs.nii", "parts.nii", "nodules.nii"]
    check(images["parts.nii"], parts.mask.crop((2, 3, 1), (6, 5, 3)))
    clear, one, two = [0] * 4, [*COLORS[1], 255], [*COLORS[2], 255]  # the first is that of `tumor`
    assert widget.volumes[2].colormap_label.lut == [*clear, *one, *clear, *clear, *two]


def test_a_mask_of_its_own_goes_before_spheres_and_an_empty_one_is_left_out(scan):
    drawn = np.zeros(OBLIQUE.shape, np.uint8)
    drawn[5, 6, 7] = 1
    shown = held(hilum.show(replace(scan, nodule_mask=hilum.Mask(drawn, OBLIQUE), lungs=None)))
    assert list(shown) == ["ct.nii", "nodules.nii"]
    np.testing.assert_array_equal(np.asarray(shown["nodules.nii"].dataobj), drawn.T)
    empty = hilum.Mask(np.zeros(OBLIQUE.shape, np.uint8), OBLIQUE)
    assert list(held(hilum.show(replace(scan, nodules=(), lungs=empty)))) == ["ct.nii"]


def test_a_volume_of_floats_is_shown_with_a_window_of_its_unit(scan):
    flat = hilum.normalize(scan.ct)
    widget = hilum.show(flat, window=(0, 1))
    images = held(widget)
    assert list(images) == ["ct.nii"]
    check(images["ct.nii"], flat)
    assert (widget.volumes[0].cal_min, widget.volumes[0].cal_max) == (0.0, 1.0)
    with pytest.raises(hilum.InputError, match="one gray in a window from -1350 to 150"):
        hilum.show(flat)
    constant = hilum.Volume(np.full(OBLIQUE.shape, -1000, np.int16), OBLIQUE)
    assert len(hilum.show(constant).volumes) == 1  # nothing to be told apart in any window


@pytest.fixture
def large():
    """A ball, right of the middle, in a scan of 33 MB with its masks; slices are thicker than pixels."""
    grid = hilum.Geometry((32, 512, 512), (5.0, 0.7, 0.7), (-180.0, 20.0, 99.0))
    z, y, x = np.ogrid[:32, :512, :512]
    ball = (((z - 16) * 5.0) ** 2 + ((y - 250) * 0.7) ** 2 + ((x - 150) * 0.7) ** 2 < 30.0**2).astype(np.uint8)
    ct = hilum.Volume(np.where(ball, 50, -800).astype(np.int16), grid)
    at = tuple(grid.index_to_world((16, 250, 150)).tolist())
    return hilum.Scan("1", ct, (hilum.Nodule(at, 60.0),), True, hilum.Mask(ball, grid))


def test_a_large_scan_is_sent_coarser_at_its_place_and_a_line_says_so(large, capsys):
    images = held(hilum.show(large))
    (line,) = capsys.readouterr().out.splitlines()
    sent = sum(np.prod(image.shape) * image.get_data_dtype().itemsize for image in images.values())
    assert 20e6 < sent <= 24e6
    size = " x ".join(f"{s:.3g}" for s in images["ct.nii"].header.get_zooms()[::-1])
    assert line == (
        f"hilum.show sends {sent / 1e6:.0f} MB, voxels of {size} mm, instead of 34 MB, voxels of 5 x 0.7 x 0.7 mm; "
        "full=True sends all"
    )
    assert images["ct.nii"].header.get_zooms()[2] == 5.0
    middle = np.array(large.nodules[0].center) * [-1, -1, 1]
    for name, inside in (("ct.nii", -375), ("lungs.nii", 0), ("nodules.nii", 0)):
        voxels = np.argwhere(np.asarray(images[name].dataobj) > inside)
        world = nibabel.affines.apply_affine(images[name].affine, voxels)
        np.testing.assert_allclose(world.mean(axis=0), middle, atol=0.1)
        volume = len(voxels) * np.abs(np.linalg.det(images[name].affine))
        assert volume == pytest.approx(4 / 3 * np.pi * 30**3, rel=0.02), name


def test_all_of_a_large_scan_is_sent_when_asked_for(large, capsys):
    images = held(hilum.show(large, full=True))
    assert capsys.readouterr().out == ""
    check(images["ct.nii"], large.ct)
    check(images["lungs.nii"], large.lungs)


def test_a_small_scan_is_sent_whole_and_nothing_is_said(scan, capsys):
    hilum.show(scan)
    assert capsys.readouterr().out == ""


def test_label_maps_count_and_come_along(large):
    maps = {name: LabelMap(large.lungs, {"ball": 1}) for name in "abcd"}
    images = held(hilum.show(replace(large, label_maps=maps)))
    assert np.prod(images["ct.nii"].shape) * 8 <= 24e6
    part = np.asarray(images["a.nii"].dataobj)
    volume = part.sum() * np.abs(np.linalg.det(images["a.nii"].affine))
    assert volume == pytest.approx(large.lungs.volume_ml() * 1000, rel=0.01)


@pytest.mark.parametrize(
    ("window", "limits"),
    [("lung", (-1350, 150)), ("mediastinum", (-160, 240)), ("bone", (-500, 1300)), ((-1000, 400.5), (-1000, 400.5))],
)
def test_the_window_is_the_preset_or_what_was_asked(scan, window, limits):
    ct = hilum.show(scan, window=window).volumes[0]
    assert (ct.cal_min, ct.cal_max, ct.colormap) == (*limits, "gray")


def test_the_crosshair_is_at_the_first_nodule(scan):
    # Of this grid x runs to the left and y to the back, so both are turned for right and anterior.
    want = [1 - (11 + 0.5) / 16, 1 - (4 + 0.5) / 20, (3 + 0.5) / 12]
    np.testing.assert_allclose(hilum.show(scan).get_state()["scene"]["crosshairPos"], want, atol=1e-9)
    assert hilum.show(scan.ct).scene.crosshair_pos == [0.5, 0.5, 0.5]


@settings(deadline=None, max_examples=60)
@given(geometries(min_size=2), st.tuples(*[st.floats(0, 1)] * 3))
def test_the_crosshair_agrees_with_nibabels_order_of_axes(geometry, share):
    index = np.array(share) * (np.array(geometry.shape) - 1)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ geometry.affine[:, [2, 1, 0, 3]]
    cosines = np.sort(np.abs(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)), axis=0)
    assume((cosines[2] > 0.8).all())  # nearer to the diagonal, the two may call another axis the nearest
    found = [0.0, 0.0, 0.0]
    for axis, (along, sign) in enumerate(nibabel.io_orientation(affine)):
        at = (index[::-1][axis] + 0.5) / geometry.shape[::-1][axis]
        found[int(along)] = at if sign > 0 else 1 - at
    got = _fractions(geometry, tuple(geometry.index_to_world(index)))
    np.testing.assert_allclose(got, found, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"window": "lungs"}, "'lungs' is not one of lung, mediastinum"),
        ({"window": (400, -1000)}, "expected low below high"),
        ({"window": (0, float("inf"))}, "expected low below high"),
        ({"window": (1, 2, 3)}, "preset's name or"),
        ({"window": 400}, "preset's name or"),
        ({"opacity": 1.5}, "opacity of 1.5"),
        ({"opacity": float("nan")}, "opacity of nan"),
        ({"height": 0}, "height of 0"),
    ],
)
def test_a_value_out_of_its_range_is_refused(scan, options, said):
    with pytest.raises(hilum.InputError, match=said):
        hilum.show(scan, **options)


@pytest.mark.parametrize("thing", ["series/", None, np.zeros((2, 2, 2)), "mask"])
def test_what_is_no_scan_is_refused(scan, thing):
    with pytest.raises(hilum.InputError, match=r"(no scan or volume|drawn over its scan)"):
        hilum.show(scan.lungs if isinstance(thing, str) and thing == "mask" else thing)


def test_a_missing_extra_is_one_line(scan, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipyniivue", None)
    with pytest.raises(hilum.InputError) as refused:
        hilum.show(scan)
    assert refused.value.code == "no-notebook"
    assert "pip install 'hilum[notebook]'" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_nothing_is_written_and_nothing_is_asked_of_the_net(tmp_path):
    code = """
import sys
def watch(event, args):
    if event in {"socket.connect", "socket.getaddrinfo"}:
        raise SystemExit(f"asked the net: {event} {args}")
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+") and "pycache" not in str(args[0]):
        raise SystemExit(f"wrote {args}")
import hilum, ipyniivue, numpy as np
hilum.show  # its imports first: compiled code has a cache of its own
sys.addaudithook(watch)
grid = hilum.Geometry((4, 5, 6), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
widget = hilum.show(hilum.Volume(np.arange(120, dtype=np.int16).reshape(4, 5, 6), grid))
print(len(widget.volumes[0].data), 'from "http' in widget._esm, 'import("http' in widget._esm)
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.split()) == (0, ["592", "False", "False"]), done.stderr
    assert list(tmp_path.iterdir()) == []
