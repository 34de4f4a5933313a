"""Slices on one grid though their positions are missing, rounded, or of two spacings; the unsure stays refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from test_dicom import GRID, codes, enhanced, noise, raises, save, slice_of, write
from test_series import headers, moved

import hilum
from hilum import cli
from hilum.errors import SeriesError, UnsupportedError
from hilum.geometry import Geometry
from hilum.io.dicom.placing import place_frames, restore_rounded
from hilum.io.dicom.reader import index_dicom, read_dicom
from hilum.io.dicom.stack import judge
from hilum.testing import assert_same_geometry

# ---- regions of two spacings


def at_heights(heights, thickness=None):
    members = headers(len(heights))
    return [
        replace(h, position=(-5.0, -6.0, float(z)), thickness=thickness if thickness is None else float(t))
        for h, z, t in zip(members, heights, np.broadcast_to(thickness or 0, len(heights)), strict=True)
    ]


def runs(*parts):
    """Heights of slices: (count, step) for each part."""
    return np.concatenate(([0.0], np.cumsum(np.concatenate([[step] * count for count, step in parts]))))


@pytest.mark.parametrize(
    ("parts", "spacing", "limit"),
    [
        (((20, 1.0), (12, 2.5)), 1.0, 2.5),
        (((10, 5.0), (12, 2.0)), 2.0, 5.0),
        (((6, 10.0), (8, 5.0)), 5.0, 10.0),
        (((9, 2.5), (20, 1.0), (9, 2.5)), 1.0, 2.5),
        (((9, 4.0), (1, 1.1), (9, 7.0)), 4.0, 7.0),
    ],
)
def test_two_spacings_are_read_on_the_grid_of_the_finer_one(parts, spacing, limit):
    heights = runs(*parts)
    stack = judge(at_heights(heights), max_gap_mm=limit)
    assert [(f.code, f.action) for f in stack.findings] == [("two-spacings", "mended")]
    assert stack.geometry.spacing[0] == pytest.approx(spacing)
    first, last = stack.geometry.origin[2], stack.geometry.index_to_world((stack.geometry.shape[0] - 1, 0, 0))[2]
    assert abs(first - heights[0]) <= spacing / 2 + 1e-9
    assert abs(last - heights[-1]) <= spacing / 2 + 1e-9
    for plane, z in zip(stack.planes, heights, strict=True):
        assert plane == -1 or stack.geometry.index_to_world((plane, 0, 0))[2] == pytest.approx(z, abs=0.1 * spacing)
    fine = [p for p, step in zip(stack.planes, np.diff(heights), strict=False) if step == spacing]
    assert -1 not in fine
    refused = judge(at_heights(heights), max_gap_mm=limit - 0.1).refusal
    assert refused.code == "two-spacings"
    assert f"{refused.text};".partition("--max-gap-mm ")[2].startswith(f"{limit:g};")


def test_slices_as_thick_as_they_are_far_apart_leave_no_gap():
    heights = runs((9, 4.0), (9, 7.0))
    thick = [4.0] * 9 + [7.0] * 10
    for thickness, limit, code in ((thick, 5.0, ""), (thick, 0.0, "two-spacings"), ([4.0] * 19, 5.0, "two-spacings")):
        members = [replace(h, thickness=t) for h, t in zip(at_heights(heights), thickness, strict=True)]
        refusal = judge(members, max_gap_mm=limit).refusal
        assert (refusal.code if refusal else "") == code


@pytest.mark.parametrize(
    "heights",
    [
        runs((10, 3.0), (2, 5.0)),  # two steps are no region
        runs((10, 3.0), (2, 5.0), (10, 3.0)),
        runs((10, 3.0), (1, 4.4), (10, 3.0)),  # one spacing, and a gap that is no multiple
        runs((5, 3.0), (1, 1.0), (1, 2.0), (5, 4.5)),
        np.cumsum(np.random.default_rng(0).uniform(1, 4, 30)),
    ],
)
def test_irregular_slices_are_still_refused(heights):
    assert judge(at_heights(heights), max_gap_mm=50.0).refusal.code == "nonuniform-spacing"


def test_the_coarse_part_is_interpolated_linearly_between_its_slices(tmp_path):
    heights = runs((8, 1.0), (6, 2.5))
    hu = noise((len(heights), 12, 10))
    grid = Geometry((len(heights), 12, 10), (1.0, 0.75, 0.8), (-4.0, -5.0, 80.0))

    def move(ds, k):
        ds.ImagePositionPatient = [-4.0, -5.0, 80.0 + heights[k]]

    scan = read_dicom(write(tmp_path, hu, grid, change=move))
    planes = np.arange(scan.ct.shape[0])
    assert scan.ct.shape[0] == 24
    flat = hu.reshape(len(hu), -1)
    expected = np.stack([np.interp(planes, heights, line) for line in flat.T], axis=1).reshape(24, 12, 10)
    assert np.abs(scan.ct.array - expected).max() <= 0.5
    assert np.array_equal(scan.ct.array[:9], hu[:9])
    assert [bool(uid) for uid in scan.slice_uids] == [bool(np.isclose(heights, k).any()) for k in planes]
    assert "two-spacings" in codes(scan)


# ---- gaps, and the option that accepts them


def test_every_command_takes_the_widest_gap(tmp_path, capsys):
    grid = Geometry((9, 12, 10), (3.0, 0.75, 0.8), (-4.0, -5.0, 80.0))
    folder = write(tmp_path / "series", noise(grid.shape), grid, change=lambda _, k: k != 4)
    said = raises(SeriesError, "missing-slices", folder)
    assert "the widest gap is 6 mm" in said
    assert "--max-gap-mm 6" in said
    assert "get the series again" not in said
    assert hilum.read(folder, max_gap_mm=6).ct.shape == grid.shape
    assert cli.main(["info", str(folder)]) == 1
    assert "--max-gap-mm 6" in capsys.readouterr().out
    assert cli.main(["info", str(folder), "--max-gap-mm", "6"]) == 0
    assert "1 interpolated between their neighbors" in capsys.readouterr().out
    out = tmp_path / "scan.nii"
    assert cli.main(["convert", str(folder), str(out)]) == 1
    assert cli.main(["convert", str(folder), str(out), "--max-gap-mm", "6"]) == 0
    assert hilum.read(out).ct.shape == grid.shape
    for command in ("lungs", "nodules", "view"):
        assert cli.main([command, "--help"]) == 0
        assert "--max-gap-mm" in capsys.readouterr().out


# ---- rounded positions


def rounded(step, to=1.0, count=37, *, start=-104.0, sign=1, offset=0.0):
    members = headers(count)
    out = []
    for k, h in enumerate(members):
        z = start + step * k
        place = (-5.37, -6.0, float(np.floor(z / to + 0.5) * to))
        out.append(replace(h, position=place, slice_location=round(sign * z + offset, 4)))
    return out


@pytest.mark.parametrize(("step", "to"), [(1.25, 1.0), (2.5, 1.0), (0.6, 1.0), (0.625, 0.5), (3.3, 1.0), (1.25, 2.0)])
@pytest.mark.parametrize(("sign", "offset"), [(1, 0.0), (-1, 0.0), (1, 412.5)])
def test_rounded_positions_come_back_to_the_grid_that_the_other_tags_give(step, to, sign, offset):
    members = rounded(step, to, sign=sign, offset=offset)
    placed, finding = restore_rounded(members[::-1])
    assert finding.code == "rounded-positions"
    stack = judge(placed, max_gap_mm=5.0)
    assert stack.refusal is None
    assert "missing-slices" not in {f.code for f in stack.findings}
    assert stack.geometry.shape[0] == 37
    assert stack.geometry.spacing[0] == pytest.approx(step, abs=1e-3)
    assert stack.geometry.origin[2] == pytest.approx(-104.0, abs=0.01 if offset == 0 else to / 4)
    assert [h.path for h in stack.slices] == [h.path for h in members]


@pytest.mark.parametrize(
    "change",
    [
        lambda members: [replace(h, slice_location=None) for h in members],
        lambda members: [replace(h, instance_number=None) for h in members],
        lambda members: [replace(h, instance_number=7) for h in members],
        lambda members: [replace(h, slice_location=h.position[2]) for h in members],  # rounded, too
        lambda members: [replace(h, slice_location=1.1 * (h.slice_location or 0)) for h in members],
        lambda members: [*members[:5], moved(members[5], (0, 0, 2.0)), *members[6:]],  # more than rounding
        lambda members: [moved(h, (0, 0, 0.013 * k)) for k, h in enumerate(members)],  # no multiples
        lambda members: members[:3],
    ],
)
def test_positions_stay_where_the_other_tags_do_not_explain_them(change):
    members = change(rounded(1.25))
    assert restore_rounded(members) == (members, None)


@pytest.mark.parametrize("wild", [float("nan"), float("inf"), 1e308, -1e6])
@pytest.mark.parametrize("field", ["slice_location", "position", "orientation"])
def test_wild_numbers_are_no_rounding(field, wild):
    value = {"slice_location": wild, "position": (wild, 1.0, 2.0), "orientation": (wild, 0.0, 0.0, 0.0, wild, 0.0)}[
        field
    ]
    first, *rest = rounded(1.25)
    members = [replace(first, **{field: value}), *rest]
    assert restore_rounded(members) == (members, None)


def test_regular_positions_are_no_rounded_ones():
    for step in (1.0, 2.0, 2.5):
        members = rounded(step, 0.5)
        assert restore_rounded(members) == (members, None)


def test_a_slice_missing_among_rounded_ones_is_still_missing():
    members = [h for k, h in enumerate(rounded(1.25)) if k != 20]
    placed, finding = restore_rounded(members)
    assert finding is not None
    stack = judge(placed, max_gap_mm=2.5)
    assert [(f.code, f.action) for f in stack.findings] == [("missing-slices", "mended")]
    assert stack.geometry.spacing[0] == pytest.approx(1.25, abs=1e-3)
    assert set(range(37)) - set(stack.planes) == {20}


def test_a_rounded_series_is_read_and_told(tmp_path):
    grid = Geometry((13, 12, 10), (1.25, 0.75, 0.8), (-4.0, -5.0, 80.0))
    hu = noise(grid.shape)

    def round_off(ds, k):
        z = grid.index_to_world((k, 0, 0))[2]
        ds.SliceLocation = f"{z:.4f}"
        ds.ImagePositionPatient = [-4, -5, int(np.floor(z + 0.5))]

    scan = read_dicom(write(tmp_path, hu, grid, change=round_off))
    assert codes(scan) == ["rounded-positions"]
    assert_same_geometry(scan.ct.geometry, grid, tolerance=0.01)
    assert np.array_equal(scan.ct.array, hu)


# ---- frames


def write_frames(path, *, change=None, hu=None):
    hu = noise() if hu is None else hu
    stored = (hu + 1024).astype("<u2")
    ds = slice_of(GRID, 0, stored[0])
    ds.NumberOfFrames = len(hu)
    if change is not None:
        change(ds)
    return save(ds, stored, path)


def test_frames_are_stacked_by_the_spacing_between_slices(tmp_path):
    hu = noise()
    write_frames(tmp_path / "i.dcm", hu=hu, change=lambda ds: setattr(ds, "SpacingBetweenSlices", "2.5"))
    scan = read_dicom(tmp_path)
    assert codes(scan) == ["assumed-positions"]
    assert_same_geometry(scan.ct.geometry, GRID)
    assert np.array_equal(scan.ct.array, hu)
    assert "world position" not in scan.notes[0].text


@pytest.mark.parametrize("step", ["0", "-2.5", "250"])
def test_an_impossible_spacing_between_slices_places_no_frame(tmp_path, step):
    write_frames(tmp_path / "i.dcm", change=lambda ds: setattr(ds, "SpacingBetweenSlices", step))
    assert "--slice-spacing-mm" in raises(UnsupportedError, "unplaced-frames", tmp_path)


def test_a_stated_spacing_places_frames(tmp_path, capsys):
    hu = noise()
    path = write_frames(tmp_path / "i.dcm", hu=hu)
    assert "--slice-spacing-mm" in raises(UnsupportedError, "unplaced-frames", tmp_path)
    up, down = read_dicom(tmp_path, slice_spacing_mm=2.5), read_dicom(tmp_path, slice_spacing_mm=-2.5)
    assert_same_geometry(up.ct.geometry, GRID)
    assert np.array_equal(up.ct.array, hu)
    assert np.array_equal(down.ct.array, hu[::-1])
    out = tmp_path / "scan.nii"
    assert cli.main(["convert", str(path), str(out), "--slice-spacing-mm", "2.5"]) == 0
    assert "as stated" in capsys.readouterr().err


def test_frames_without_any_position_are_placed_somewhere_and_told(tmp_path):
    def strip(ds):
        del ds.ImagePositionPatient
        ds.SpacingBetweenSlices = "2.5"

    write_frames(tmp_path / "i.dcm", change=strip)
    (note,) = read_dicom(tmp_path).notes
    assert "the world position is arbitrary" in note.text


@pytest.mark.parametrize(("count", "code"), [(7, ""), (6, "unplaced-frames")])
def test_an_enhanced_file_without_positions_is_stacked_by_its_spacing(tmp_path, count, code):
    path = enhanced(tmp_path / "one.dcm", list(range(7)))
    ds = pydicom.dcmread(path)
    ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices = "2.5"
    ds.PerFrameFunctionalGroupsSequence = [Dataset() for _ in range(count)]
    ds.save_as(path)
    if code:
        raises(UnsupportedError, code, tmp_path)
        return
    scan = read_dicom(tmp_path)
    assert codes(scan) == ["assumed-positions"]
    assert "the world position is arbitrary" in scan.notes[0].text
    assert scan.ct.geometry.isclose(replace(GRID, origin=(0.0, 0.0, 0.0)))
    np.testing.assert_array_equal(scan.ct.array, noise())


def test_a_damaged_count_of_frames_makes_no_million_records():
    whole = replace(headers(1)[0], position=(), shared_position=(0.0, 0.0, 0.0), slice_step=1.0)
    for header in (replace(whole, frames=10**9), replace(whole, frames=10_001, pixel_bytes=10**9)):
        assert place_frames([header], None) == ([header], None)
    placed, finding = place_frames([replace(whole, frames=10_000, pixel_bytes=10**9)], None)
    assert len(placed) == 10_000
    assert finding.code == "assumed-positions"


def test_single_slices_are_left_alone():
    members = headers(5)
    assert place_frames(members, None) == (members, None)


def test_headers_say_all_of_it_without_pixels(tmp_path):
    write_frames(tmp_path / "i.dcm", change=lambda ds: setattr(ds, "SpacingBetweenSlices", "2.5"))
    (stack,) = index_dicom(tmp_path)
    assert len(stack.slices) == len(noise())
    assert [f.code for f in stack.findings] == ["assumed-positions"]
