"""Bounds of verdicts and of the lungs, from both sides; `bench/mutants.py` shows that none can move unseen.

The inputs are plain numbers, a few per cent below and above each bound: a test that computed them from the constant
would follow it wherever it goes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_series import headers, moved, refusal

from hilum._kernels.bitmask.mask import BitMask
from hilum.geometry import Geometry
from hilum.io.dicom.grouping import group_slices
from hilum.io.dicom.stack import judge
from hilum.ops.lungs.segment import segment_lungs
from hilum.ops.lungs.sides import find_parenchyma
from hilum.ops.quality.measure import quality_notes
from hilum.ops.quality.plausibility import note_implausible_values
from hilum.volume import Volume

# ---- DICOM: slices of 3 mm, pixels of 0.7 x 0.8 mm


def codes(stack):
    return {finding.code for finding in stack.findings}


@pytest.mark.parametrize(("off_mm", "refused"), [(0.285, False), (-0.285, False), (0.315, True), (-0.315, True)])
def test_a_slice_may_lie_a_tenth_of_the_spacing_off_the_grid(off_mm, refused):
    members = headers(40)
    members[20] = moved(members[20], (0.0, 0.0, off_mm))
    assert codes(judge(members)) == {"nonuniform-spacing" if refused else "uneven-spacing"}


@pytest.mark.parametrize(("stated_mm", "wrong"), [(2.715, False), (3.285, False), (2.685, True), (3.315, True)])
def test_a_spacing_tag_may_be_a_tenth_off(stated_mm, wrong):
    members = [replace(header, slice_step=stated_mm) for header in headers(40)]
    assert codes(judge(members)) == ({"spacing-tag-disagrees"} if wrong else set())


@pytest.mark.parametrize(("off_mm", "mended"), [(0.285, True), (0.315, False)])
def test_a_damaged_slice_is_interpolated_where_it_lies_in_its_gap(off_mm, mended):
    members = headers(40)
    members[20] = replace(moved(members[20], (0.0, 0.0, off_mm)), pixel_bytes=10)
    stack = judge(members, max_gap_mm=6.0)
    assert (stack.refusal is None) == mended
    assert codes(stack) == {"missing-slices" if mended else "truncated"}


@pytest.mark.parametrize(("last", "parts"), [(78, 1), (82, 2)])
def test_an_acquisition_is_a_scan_by_itself_from_four_fifths_of_the_height_on(last, parts):
    every = headers(101)
    first = [replace(header, acquisition_number=1) for header in every[: last + 1]]
    second = [replace(h, acquisition_number=2, path=f"b{h.path}", sop_uid=f"{h.sop_uid}.2") for h in every[70:]]
    stacks = [group.slices for group in group_slices([*first, *second])]
    assert len(stacks) == parts
    assert len(stacks[0]) == (len(first) if parts == 2 else len(first) + len(second))


@pytest.mark.parametrize(("off_mm", "code"), [(0.33, ""), (0.37, "shifted-slices")])
def test_a_slice_may_lie_half_a_pixel_beside_the_others(off_mm, code):
    members = headers(40)
    members[20] = moved(members[20], (off_mm, 0.0, 0.0))
    assert refusal(members) == code


@pytest.mark.parametrize(("off_mm", "code"), [(0.33, ""), (0.37, "gantry-tilt")])
def test_a_stack_may_be_sheared_by_half_a_pixel(off_mm, code):
    members = [moved(header, (0.0, off_mm * k / 40, 0.0)) for k, header in enumerate(headers(41))]
    stack = judge(members)
    assert "".join(f.code for f in stack.findings) == code
    assert bool(stack.places) == bool(code)
    refused = judge(members, tilt="refuse").refusal
    assert (refused.code if refused else "") == code


# ---- quality


def few_of(hu, among, count):
    """64,000 voxels near one value, some of them near another."""
    rng = np.random.default_rng(0)
    values = rng.integers(among - 30, among + 30, 64_000)
    values[:count] = rng.integers(hu - 30, hu + 30, count)
    return Volume(values.reshape(40, 40, 40).astype(np.int16), Geometry((40, 40, 40), (5.0, 5.0, 5.0)))


@pytest.mark.parametrize(
    ("hu", "among", "says"), [(-900, 40, "no air near -1000"), (40, -900, "no soft tissue near 0")]
)
def test_a_chest_has_air_and_tissue_in_a_thousandth_of_its_voxels(hu, among, says):
    assert not note_implausible_values(few_of(hu, among, 68))
    (note,) = note_implausible_values(few_of(hu, among, 60))
    assert says in note.text


FINE = {"lung_ml": 4000.0, "lung_right_ml": 2100.0, "lung_left_ml": 1900.0}


@pytest.mark.parametrize(
    ("figure", "fine", "wrong"),
    [
        ("lung_missed_share", 0.076, 0.084),
        ("lung_edge_air_share", 0.114, 0.126),
        ("lung_mean_hu", -466.0, -434.0),
        ("lung_gas_share", 0.585, 0.615),
        ("lung_dense_share", 0.0735, 0.0765),
        ("lung_dense_side_share", 0.1275, 0.1325),
        ("lung_top_difference_mm", 34.3, 35.7),
        ("lung_dense_edge_share", 0.1175, 0.1225),
        ("lung_lump_ml", 88.0, 92.0),
        ("lung_walled_gas_ml", 59.0, 61.0),
    ],
)
def test_an_alarm_is_raised_half_way_between_fine_and_wrong(figure, fine, wrong):
    assert not quality_notes(FINE | {figure: fine})
    assert len(quality_notes(FINE | {figure: wrong})) == 1


# ---- lungs: a chest of boxes, voxels of 1 mm in cells of 3 mm


SHAPE = (60, 99, 150)
RIGHT_LUNG, LEFT_LUNG = (np.s_[6:54, 21:78, a:b] for a, b in ((18, 60), (90, 132)))


def chest():
    """A body of 40 HU in air, two lungs of -850 HU in it, and ribs beside them."""
    hu = np.full(SHAPE, -1000, np.int16)
    hu[:, 6:93, 6:144] = 40
    hu[:, 30:70, 9:12] = hu[:, 30:70, 138:141] = 500
    hu[RIGHT_LUNG] = hu[LEFT_LUNG] = -850
    return hu


def mask_of(hu, **options):
    """The air of the lungs alone, as nothing is filled or dense, where no option says otherwise."""
    options = {"fill": False, "pathology": "exclude"} | options
    return segment_lungs(Volume(hu, Geometry(SHAPE, (1.0, 1.0, 1.0))), **options).array


def share(mask, where, label):
    return float((mask[where] == label).mean())


def test_a_chest_of_boxes_has_its_lungs():
    mask = mask_of(chest())
    assert share(mask, RIGHT_LUNG, 1) == share(mask, LEFT_LUNG, 2) == 1.0
    assert np.count_nonzero(mask) == mask[RIGHT_LUNG].size + mask[LEFT_LUNG].size


@pytest.mark.parametrize(("hu", "inside"), [(-406, True), (-402, False)])
def test_a_voxel_is_lung_up_to_half_way_between_lung_and_wall(hu, inside):
    scan, rim = chest(), np.s_[12:48, 75:78, 24:54]
    scan[rim] = hu
    assert share(mask_of(scan), rim, 1) == float(inside)


@pytest.mark.parametrize(("hu", "found"), [(-420, True), (-380, False)])
def test_a_cell_is_air_up_to_a_mean_400_hu_below_water(hu, found):
    """Half of the lungs' voxels are darker than any threshold, half brighter: only the mean of a cell decides."""
    scan = chest()
    board = np.indices(SHAPE).sum(axis=0) % 2 == 0
    for lung in (RIGHT_LUNG, LEFT_LUNG):
        scan[lung] = np.where(board[lung], 2 * hu, 0)
    mask = mask_of(scan)
    assert mask.any() == found
    assert not found or share(mask, RIGHT_LUNG, 1) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(("high", "kept"), [(17, False), (20, True)])
def test_a_fragment_is_kept_from_a_fiftieth_of_the_lung_on(high, kept):
    """A layer of air behind the right lung, parted from it by a millimeter of tissue; a fiftieth are 2298 voxels."""
    scan, fragment = chest(), np.s_[30 : 30 + high, 79:82, 18:60]
    scan[fragment] = -850
    assert share(mask_of(scan), fragment, 1) == pytest.approx(float(kept), abs=0.01)


@pytest.mark.parametrize(("wide", "closed"), [(10, True), (12, False)])
def test_a_dent_is_closed_if_a_ball_of_five_millimeters_does_not_fit_into_it(wide, closed):
    scan = chest()
    dent = np.s_[6:54, 58:78, 39 - wide // 2 : 39 + wide // 2]
    scan[dent] = 40
    middle = np.s_[28:32, 62:70, 36:42]
    assert share(mask_of(scan, fill=True), middle, 1) == float(closed)


@pytest.mark.parametrize(("cells", "found"), [(14, False), (16, True)])
def test_less_than_fifteen_milliliters_of_parenchyma_are_no_lung(cells, found):
    """Cells of a milliliter, with a bone beside them."""
    hu = np.full((24, 20, 40), 40, np.int16)
    air = np.zeros(hu.shape, bool)
    air[4 : 4 + cells, 10, 8] = True
    hu[air] = -850
    assert not find_parenchyma(hu, air, BitMask.empty(hu.shape), (10.0, 10.0, 10.0)).any()
    hu[:, 10, 9] = 300
    assert find_parenchyma(hu, air, BitMask.empty(hu.shape), (10.0, 10.0, 10.0)).any() == found
