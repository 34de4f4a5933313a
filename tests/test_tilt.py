"""Sheared stacks, as a tilted gantry makes them: every structure at its place, nothing cut, told or refused."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
from lidc_message import message, nodule, roi
from scipy import ndimage
from test_dicom import UID, codes, raises, save, slice_of
from test_series import headers

import hilum
from hilum import cli
from hilum.errors import AnnotationError, UnsupportedError
from hilum.export.seg_source import index_sources, read_source
from hilum.geometry import Geometry
from hilum.io.annotations.lidc import read_lidc
from hilum.io.dicom.reader import index_dicom, read_dicom
from hilum.io.dicom.stack import judge
from hilum.ops.planes import fill_planes, place_planes

SHAPE, SPACING = (24, 60, 56), (2.5, 1.4, 1.5)


def tilted(degrees, axis="x"):
    """The grid that the slices would have along their normal; their own positions go straight to the head."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turned = {
        "x": ((0.0, -s, c), (0.0, c, s), (1.0, 0.0, 0.0)),
        "y": ((s, 0.0, c), (0.0, 1.0, 0.0), (c, 0.0, -s)),
    }[axis]
    return Geometry(SHAPE, (SPACING[0] * c, *SPACING[1:]), (-40.0, -45.0, 80.0), turned)


def position(grid, k, step=(0.0, 0.0, SPACING[0])):
    return np.array(grid.origin) + k * np.array(step)


def density(points):
    """A smooth body: waves along every axis, as steep as 60 HU in a voxel."""
    x, y, z = np.moveaxis(np.asarray(points), -1, 0)
    return 300 * np.sin(x / 7) + 250 * np.cos(y / 6.5) + 200 * np.sin(z / 8 + 1)


def write_tilted(folder, grid, *, skip=(), step=(0.0, 0.0, SPACING[0]), change=None):
    y, x = np.mgrid[: grid.shape[1], : grid.shape[2]]
    for k in range(grid.shape[0]):
        if k in skip:
            continue
        first = position(grid, k, step)
        points = first + y[..., None] * grid.affine[:3, 1] + x[..., None] * grid.affine[:3, 2]
        stored = np.rint(density(points) + 1024).astype("<u2")
        ds = slice_of(grid, k, stored)
        ds.ImagePositionPatient = [f"{v:.6f}" for v in first]
        if change is not None:
            change(ds, k)
        save(ds, stored, folder / f"i{(k * 5) % 29:03d}.dcm")
    return folder


def probes(volume, count=4000):
    """Random points of the volume with the value there, linear between the planes and cubic within them."""
    index = np.random.default_rng(3).uniform((0, 4, 4), np.array(volume.shape) - (1, 5, 5), (count, 3))
    index[:, 0] = np.rint(index[:, 0])  # on planes: the test is not of what lies between slices
    array = volume.array.astype(float)
    got = ndimage.map_coordinates(array, index.T, order=3)
    near = ndimage.minimum_filter(array, (1, 15, 15)) > -1000
    inside = near[tuple(np.rint(index).astype(int).T)]
    return volume.geometry.index_to_world(index)[inside], got[inside]


@pytest.mark.parametrize("degrees", [5.0, -12.0, 12.0, 20.0])
@pytest.mark.parametrize("axis", ["x", "y"])
def test_every_structure_is_where_it_was(tmp_path, degrees, axis):
    grid = tilted(degrees, axis)
    scan = read_dicom(write_tilted(tmp_path, grid))
    points, got = probes(scan.ct)
    assert len(points) > 1500
    assert np.abs(got - density(points)).max() < 15
    # the best shift of the probes along each axis is none, to a twentieth of a voxel
    slopes = np.stack([density(points + d) - density(points - d) for d in 0.05 * np.eye(3)], axis=-1) / 0.1
    moved = np.linalg.lstsq(slopes, got - density(points), rcond=None)[0]
    assert np.abs(moved).max() < 0.05
    (note,) = [n for n in scan.notes if n.code == "gantry-tilt"]
    assert f"sheared by {abs(degrees):.1f} degrees" in note.text


def test_the_grid_is_straight_as_wide_as_all_slices_and_keeps_their_names(tmp_path):
    grid = tilted(12.0)
    scan = read_dicom(write_tilted(tmp_path, grid))
    whole = scan.ct.geometry
    assert whole.spacing == pytest.approx(grid.spacing)
    np.testing.assert_allclose(whole.direction, grid.direction, atol=1e-9)
    drift = np.tan(np.radians(12)) * (SHAPE[0] - 1) * grid.spacing[0] / grid.spacing[1]
    assert whole.shape == (SHAPE[0], SHAPE[1] + round(drift), SHAPE[2])
    assert scan.slice_uids == tuple(f"{UID}.1.{k + 1}" for k in range(SHAPE[0]))
    for k in range(SHAPE[0]):
        index = whole.world_to_index(position(grid, k))
        assert index[0] == pytest.approx(k, abs=1e-4)
        start = round(index[1])
        assert 0 <= start <= whole.shape[1] - SHAPE[1]
        outside = np.ones(whole.shape[1], bool)
        outside[start : start + SHAPE[1]] = False
        assert (scan.ct.array[k, outside] == -1024).all()
        assert (scan.ct.array[k, ~outside] > -1024).all()


def keys(line, at):
    """Cubic convolution with a = -1/2 of a line of samples that continues with its ends; the oracle."""
    k = int(np.floor(at))
    samples = line[np.clip(np.arange(k - 1, k + 3), 0, len(line) - 1)].astype(float)
    d = np.abs(at - np.arange(k - 1, k + 3))
    near, far = 1.5 * d**3 - 2.5 * d**2 + 1, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    return samples @ np.where(d <= 1, near, far)


def beside(plane, down, right, shape, least):
    """The least or largest of the four samples around each position of a shifted plane."""
    rows, columns = (
        [np.clip(np.floor(np.arange(n) - shift).astype(int) + k, 0, size - 1) for k in (0, 1)]
        for n, shift, size in zip(shape, (down, right), plane.shape, strict=True)
    )
    return least.reduce([plane[np.ix_(y, x)] for y in rows for x in columns])


def test_a_shift_is_a_cubic_convolution_that_does_not_ring():
    array = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 3000, (4, 30, 27)), (0, 2, 2)).astype(np.int16)
    places = np.array([(k, 0.4 + 0.37 * k, 1.5 - 0.41 * k) for k in range(4)])
    places[:, 1:] -= np.floor(places[:, 1:].min(axis=0) + 0.5)
    shape = (4, *(np.array((30, 27)) + np.floor(places[:, 1:].max(axis=0) + 0.5)).astype(int).tolist())
    out = place_planes(array, places, shape, fill=-5000)
    for k, (_, down, right) in enumerate(places):
        rows = np.stack([[keys(line, x - right) for x in range(shape[2])] for line in array[k]])
        truth = np.stack([[keys(line, y - down) for y in range(shape[1])] for line in rows.T], axis=1)
        inside = out[k] != -5000
        assert inside.sum() == 30 * 27
        low, high = (beside(array[k], down, right, shape[1:], least) for least in (np.minimum, np.maximum))
        assert np.abs(out[k] - np.clip(truth, low, high))[inside].max() <= 0.5 + 1e-3


def test_an_edge_changes_one_voxel_and_rings_nowhere():
    array = np.zeros((2, 20, 20), np.int16)
    array[:, 10:] = 1000
    out = place_planes(array, np.array([(0, 0.0, 0.0), (1, 0.4, 0.0)]), (2, 20, 20), fill=0)
    assert set(np.unique(out[1, :10])) == {0}
    assert set(np.unique(out[1, 11:])) == {1000}
    assert 0 < out[1, 10, 0] < 1000


def test_nothing_is_mixed_across_slices():
    array = np.zeros((5, 9, 9), np.int16)
    array[2] = 1000
    places = np.array([(k, 0.3 * k, 0.0) for k in range(5)])
    out = place_planes(array, places, (5, 10, 9), fill=-1024)
    assert set(np.unique(out[2])) == {-1024, 1000}
    assert set(np.unique(out[[0, 1, 3, 4]])) == {-1024, 0}


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4", "f8"])
def test_any_type_is_shifted_and_labels_take_the_nearest(dtype):
    array = np.zeros((2, 8, 8), dtype)
    array[:, 2:5, 2:5] = 7
    places = np.array([(0, 0.0, 0.0), (1, 1.4, 0.0)])
    out = place_planes(array, places, (2, 9, 8), fill=0, order=0)
    assert out.dtype == array.dtype
    assert set(np.unique(out)) == {0, 7}
    assert (out[1, 3:6, 2:5] == 7).all()
    fine = place_planes(array, places, (2, 9, 8), fill=0)
    assert fine.dtype == array.dtype
    assert len(np.unique(fine)) > 2
    assert fine.min() >= 0
    assert fine.max() <= 7


def test_a_missing_slice_of_a_tilted_stack_lies_between_its_shifted_neighbors(tmp_path):
    grid = tilted(12.0)
    complete = read_dicom(write_tilted(tmp_path / "all", grid)).ct
    scan = read_dicom(write_tilted(tmp_path / "gap", grid, skip=(9,)))
    assert {"gantry-tilt", "missing-slices"} <= set(codes(scan))
    assert scan.ct.geometry.isclose(complete.geometry)
    expected = complete.array.copy()
    fill_planes(expected, [k for k in range(SHAPE[0]) if k != 9])
    assert np.array_equal(scan.ct.array, expected)
    assert [k for k, uid in enumerate(scan.slice_uids) if not uid] == [9]


def test_a_damaged_slice_of_a_tilted_stack_is_left_out(tmp_path):
    folder = write_tilted(tmp_path, tilted(12.0))
    victim = sorted(folder.iterdir())[7]
    victim.write_bytes(victim.read_bytes()[:-900])
    assert {"gantry-tilt", "missing-slices"} <= set(codes(read_dicom(folder)))


def test_a_stack_along_its_normal_is_not_touched(tmp_path):
    grid = tilted(12.0)
    normal = np.array(grid.direction[0]) * grid.spacing[0]
    scan = read_dicom(write_tilted(tmp_path, grid, step=tuple(normal)))
    assert "gantry-tilt" not in codes(scan)
    assert scan.ct.shape == SHAPE
    (stack,) = index_dicom(tmp_path)
    assert stack.places == ()


@pytest.mark.parametrize(("degrees", "code"), [(44.0, ""), (46.0, "gantry-tilt")])
def test_no_gantry_tilts_by_more_than_45_degrees(tmp_path, degrees, code):
    grid = tilted(degrees)
    (stack,) = index_dicom(write_tilted(tmp_path, grid))
    assert (stack.refusal.code if stack.refusal else "") == code


@pytest.mark.parametrize(("widths", "code"), [(3.9, "gantry-tilt"), (4.1, "gantry-tilt")])
def test_a_shift_of_many_widths_is_a_damaged_header(widths, code):
    members = headers(30)
    drift = widths * 8.0  # 10 columns of 0.8 mm
    step = (0.0, drift / 29, 3.0 * drift / 29)
    places = [tuple(np.array(members[0].position) + k * np.array(step)) for k in range(30)]
    stack = judge([replace(h, position=p) for h, p in zip(members, places, strict=True)])
    assert [f.code for f in stack.findings if f.action in {"mended", "refused"}] == [code]
    assert (stack.refusal is None) == (widths < 4)


def test_the_option_refuses(tmp_path, capsys):
    folder = write_tilted(tmp_path / "series", tilted(12.0))
    assert "12.0 degrees" in raises(UnsupportedError, "gantry-tilt", folder, tilt="refuse")
    with pytest.raises(UnsupportedError):
        hilum.read(folder, tilt="refuse")
    with pytest.raises(hilum.errors.InputError, match="correct or refuse"):
        hilum.read(folder, tilt="yes")
    out = tmp_path / "scan.nii"
    assert cli.main(["convert", str(folder), str(out), "--no-tilt"]) == 1
    assert "--no-tilt" in capsys.readouterr().err
    assert cli.main(["info", str(folder), "--no-tilt"]) == 1
    assert "refused, gantry-tilt" in capsys.readouterr().out
    assert cli.main(["info", str(folder)]) == 0
    assert "gantry-tilt: slices are sheared by 12.0 degrees" in capsys.readouterr().out
    assert cli.main(["convert", str(folder), str(out)]) == 0
    assert hilum.read(out).ct.shape == read_dicom(folder).ct.shape


def test_outlines_in_pixels_of_shifted_slices_are_refused(tmp_path):
    scan = hilum.read(write_tilted(tmp_path / "series", tilted(12.0)))
    reading = tmp_path / "reading.xml"
    reading.write_text(message(nodule(roi(80.0, uid=f"{UID}.1.1")), series=f"{UID}.1"))
    with pytest.raises(AnnotationError, match="shifted") as caught:
        read_lidc(reading, scan=scan)
    assert caught.value.code == "turned-pixels"


def test_a_segmentation_cannot_refer_to_shifted_slices(tmp_path):
    folder = write_tilted(tmp_path / "series", tilted(12.0))
    sources = index_sources([folder])
    ((uid, (_, stack)),) = sources.items()
    record = SimpleNamespace(source_geometry=SimpleNamespace(to_geometry=lambda: stack.geometry))
    with pytest.raises(UnsupportedError, match="straight grid"):
        read_source(SimpleNamespace(uid=uid, folder=tmp_path, record=record), sources)


def test_a_real_head_is_straight(real_data):
    """Between planes the outer skull moves by less than the slope of a head allows."""
    folder = real_data / "tilt-ge-head"
    scan = hilum.read(folder)
    assert {"gantry-tilt", "two-spacings"} <= set(codes(scan))
    ds = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    bone = scan.ct.array[:, :, 230:280].max(axis=2) > 500
    for d in ds:
        index = scan.ct.geometry.world_to_index([float(v) for v in d.ImagePositionPatient])
        k, start = round(index[0]), index[1]
        if abs(index[0] - k) > 0.01:
            continue
        own = np.flatnonzero((d.pixel_array[:, 230:280]).max(axis=1) > 500)
        found = np.flatnonzero(bone[k])
        assert abs(found.min() - start - own.min()) <= 1
        assert abs(found.max() - start - own.max()) <= 1
    steps = np.diff([np.flatnonzero(row).max() for row in bone[12:28]])
    assert np.abs(steps).max() <= 16
