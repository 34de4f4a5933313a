"""The verdict on slices, from header records alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hilum.errors import SeriesError, UnsupportedError, name_some
from hilum.geometry import Geometry
from hilum.io.dicom.choice import choose_stack
from hilum.io.dicom.frames import no_slices_error, select_slices
from hilum.io.dicom.grouping import group_slices
from hilum.io.dicom.records import SliceHeader
from hilum.io.dicom.stack import judge
from hilum.testing import assert_same_geometry, geometries

CT = "1.2.840.10008.5.1.4.1.1.2"
SECONDARY = "1.2.840.10008.5.1.4.1.1.7"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def headers(count=40, step=3.0, *, uid="1.2.3", orientation=AXIAL, **fields):
    normal = np.cross(orientation[:3], orientation[3:])
    return [
        SliceHeader(
            f"s{k:03d}.dcm",
            sop_uid=f"{uid}.{k}",
            series_uid=uid,
            modality="CT",
            sop_class=CT,
            image_type=("ORIGINAL", "PRIMARY", "AXIAL"),
            rows=8,
            columns=10,
            pixel_spacing=(0.7, 0.8),
            position=tuple(np.array([-5.0, -6.0, 100.0]) + k * step * normal),
            orientation=orientation,
            instance_number=k + 1,
            slope=1.0,
            intercept=-1024.0,
            pixel_bytes=160,
            **fields,
        )
        for k in range(count)
    ]


def refusal(members):
    found = judge(members).refusal
    return found.code if found else ""


def sizes(members):
    return [len(group.slices) for group in group_slices(members)]


def judged(members):
    groups = group_slices(members)
    return [replace(judge(g.slices), series_part=g.series_part, told_by=g.told_by, value=g.value) for g in groups]


def moved(header, delta):
    return replace(header, position=tuple(np.array(header.position) + delta))


def with_field(members, index, **change):
    return [replace(h, **change) if k == index else h for k, h in enumerate(members)]


def test_a_plain_stack_is_ordered_and_placed():
    stack = judge(headers()[::-1])
    assert stack.refusal is None
    assert not stack.findings
    assert [h.path for h in stack.slices] == [f"s{k:03d}.dcm" for k in range(40)]
    assert_same_geometry(stack.geometry, Geometry((40, 8, 10), (3.0, 0.7, 0.8), (-5.0, -6.0, 100.0)))
    assert stack.planes == tuple(range(40))


@given(geometries(min_size=2), st.randoms(use_true_random=False))
def test_any_right_handed_grid_is_found_again_from_shuffled_slices(grid, random):
    z, y, x = (np.array(v) for v in grid.direction)
    assume(np.dot(np.cross(x, y), z) > 0)  # slices ascend along row x column
    members = [
        replace(
            headers(1)[0],
            path=f"{k}",
            rows=grid.shape[1],
            columns=grid.shape[2],
            pixel_spacing=grid.spacing[1:],
            position=tuple(float(f"{v:.6f}") for v in grid.index_to_world((k, 0, 0))),
            orientation=(*grid.direction[2], *grid.direction[1]),
            pixel_bytes=2 * grid.shape[1] * grid.shape[2],
        )
        for k in range(grid.shape[0])
    ]
    random.shuffle(members)
    stack = judge(members)
    assert stack.refusal is None
    assert_same_geometry(stack.geometry, grid)


def test_the_order_does_not_hang_on_names_or_numbers():
    members = headers(12)
    jumbled = [replace(h, path=f"{(7 * k) % 12}", instance_number=-k) for k, h in enumerate(members)]
    assert [h.position for h in judge(jumbled).slices] == [h.position for h in members]


def test_feet_first_or_prone_slices_ascend_along_their_own_normal():
    stack = judge(headers(5, orientation=(1.0, 0.0, 0.0, 0.0, -1.0, 0.0)))
    assert stack.geometry.direction[0] == (0.0, 0.0, -1.0)
    assert stack.geometry.origin == (-5.0, -6.0, 100.0)


@pytest.mark.parametrize("gone", [[20], [10, 11, 12], [5, 30]])
def test_missing_slices_are_refused_and_their_places_known(gone):
    stack = judge([h for k, h in enumerate(headers()) if k not in gone])
    assert stack.refusal.code == "missing-slices"
    assert f"missing slices: {len(gone)}" in stack.refusal.text
    assert set(range(40)) - set(stack.planes) == set(gone)
    assert stack.geometry.shape[0] == 40


@pytest.mark.parametrize(
    ("gone", "limit", "mended"),
    [
        ([20], 6.0, True),
        ([20], 5.9, False),
        ([20, 21], 6.0, False),
        ([20, 21], 9.0, True),
        ([5, 20, 22], 6.0, True),
        ([5, 20, 21], 6.0, False),
        ([1, 38], 6.0, True),
    ],
)
def test_a_gap_up_to_the_limit_is_mended_and_told(gone, limit, mended):
    stack = judge([h for k, h in enumerate(headers()) if k not in gone], max_gap_mm=limit)
    (found,) = stack.findings
    assert (found.code, found.action) == ("missing-slices", "mended" if mended else "refused")
    assert (stack.refusal is None) == mended
    assert_same_geometry(stack.geometry, judge(headers()).geometry)
    assert set(range(40)) - set(stack.planes) == set(gone)
    assert "missing" in found.text
    assert ("interpolated" in found.text) == mended
    for k in gone:
        assert (f"{100 + 3 * k:.2f}" in found.text) == mended


@pytest.mark.parametrize("axes", [(1.0, 0, 0, 0, -1.0, 0), (1.0, 0, 0, 0, 0, -1.0), (0, 1.0, 0, 0, 0, -1.0)])
def test_the_place_of_a_gap_is_told_in_world_millimetres(axes):
    whole = headers(orientation=axes)
    stack = judge([h for k, h in enumerate(whole) if k != 7], max_gap_mm=6.0)
    axis = int(np.argmax(np.abs(stack.geometry.direction[0])))
    assert f"{'xyz'[axis]} = {whole[7].position[axis]:.2f} mm" in stack.findings[0].text


def test_a_gap_that_is_no_multiple_of_the_spacing_is_refused():
    members = [h for k, h in enumerate(headers()) if k != 20]
    uneven = [moved(h, (0, 0, 1.2 if h.instance_number > 20 else 0)) for h in members]
    assert judge(uneven, max_gap_mm=50.0).refusal.code == "nonuniform-spacing"


@pytest.mark.parametrize("start", [0, 15, 30])
def test_another_spacing_over_a_stretch_is_no_gap(start):
    members = [h for k, h in enumerate(headers()) if not (start <= k < start + 10 and k % 2)]
    stack = judge(members, max_gap_mm=6.0)
    assert [(f.code, f.action) for f in stack.findings] == [("two-spacings", "mended")]
    assert judge(members, max_gap_mm=5.9).refusal.code == "two-spacings"


def test_jitter_beside_a_gap_is_noted_too():
    members = [moved(h, (0, 0, 0.15 * (-1) ** k * (0 < k < 39))) for k, h in enumerate(headers()) if k != 9]
    stack = judge(members, max_gap_mm=6.0)
    assert {f.code for f in stack.findings} == {"missing-slices", "uneven-spacing"}


@pytest.mark.parametrize("change", [{"pixel_bytes": 0}, {"pixel_bytes": 159}, {"rows": 65535}])
def test_a_damaged_slice_between_others_is_a_gap_and_named(change):
    damaged = with_field(headers(), 11, **change)
    stack = judge(damaged, max_gap_mm=6.0)
    assert stack.refusal is None
    assert set(range(40)) - set(stack.planes) == {11}
    assert "s011.dcm" in stack.findings[0].text
    assert "s011.dcm" in stack.findings[0].files
    assert judge(damaged, max_gap_mm=5.9).refusal.code in {"no-pixels", "truncated"}


@pytest.mark.parametrize("place", [0, 39])
def test_a_damaged_slice_at_an_end_is_never_made_up(place):
    assert judge(with_field(headers(), place, pixel_bytes=100), max_gap_mm=50.0).refusal.code == "truncated"


def test_a_damaged_slice_beside_a_whole_one_or_without_a_place_is_refused():
    members = headers()
    copy = replace(members[11], path="copy.dcm", sop_uid="9", pixel_bytes=100)
    assert judge([*members, copy], max_gap_mm=6.0).refusal.code == "truncated"
    nowhere = with_field(members, 11, pixel_bytes=100, position=())
    assert judge(nowhere, max_gap_mm=6.0).refusal.code == "truncated"


def test_slices_absent_at_the_ends_are_a_shorter_scan():
    stack = judge(headers()[1:-2])
    assert stack.refusal is None
    assert stack.geometry.shape[0] == 37


@pytest.mark.parametrize("jitter", [0.0, 0.01, 0.03, 0.09])
def test_small_jitter_is_accepted_and_noted(jitter):
    members = [moved(h, (0, 0, 3.0 * jitter * (-1) ** k * (0 < k < 39))) for k, h in enumerate(headers())]
    stack = judge(members)
    assert stack.refusal is None
    assert [f.code for f in stack.findings] == (["uneven-spacing"] if jitter > 0.02 else [])


@pytest.mark.parametrize("jitter", [0.12, 0.3])
def test_large_jitter_is_refused(jitter):
    members = [moved(h, (0, 0, 3.0 * jitter * (-1) ** k * (0 < k < 39))) for k, h in enumerate(headers())]
    assert refusal(members) == "nonuniform-spacing"


def test_spacing_that_changes_half_way_is_refused():
    members = headers(20) + [moved(h, (0, 0, 60 + 0.2 * k)) for k, h in enumerate(headers(20))]
    assert refusal(members) == "nonuniform-spacing"
    coarse = [moved(h, (0, 0, 60 + 3 * k)) for k, h in enumerate(headers(20))]
    assert refusal(headers(20) + coarse) == "two-spacings"


@pytest.mark.parametrize("step", [0.4, 3.0, 10.0])
def test_the_tolerance_is_relative_to_the_spacing(step):
    members = headers(step=step)
    assert refusal([moved(h, (0, 0, 0.05 * step * (k == 9))) for k, h in enumerate(members)]) == ""
    assert refusal([moved(h, (0, 0, 0.4 * step * (k == 9))) for k, h in enumerate(members)]) == "nonuniform-spacing"


def test_copies_at_one_place_are_reported_not_stacked():
    members = headers(10)
    stack = judge([*members, replace(members[4], path="copy.dcm", sop_uid="9", instance_number=99)])
    assert stack.refusal is None
    assert stack.geometry.shape[0] == 10
    assert [(k, h.path) for k, h in stack.duplicates] == [(4, "copy.dcm")]
    assert [(f.code, f.action) for f in stack.findings] == [("duplicate-slices", "dropped")]


def test_two_slices_of_one_height_side_by_side_are_refused():
    members = headers(10)
    assert refusal([*members, moved(replace(members[4], path="beside.dcm"), (2.0, 0, 0))]) == "conflicting-duplicates"


def test_a_tilted_gantry_is_refused_with_its_angle():
    tilt = np.radians(12)
    members = headers(orientation=(1.0, 0.0, 0.0, 0.0, float(np.cos(tilt)), float(np.sin(tilt))))
    upright = [replace(h, position=(-5.0, -6.0, 100.0 + 3 * k)) for k, h in enumerate(members)]
    found = judge(upright, tilt="refuse").refusal
    assert found.code == "gantry-tilt"
    assert "12.0 degrees" in found.text
    assert judge(members, tilt="refuse").refusal is None
    corrected = judge(upright)
    assert [(f.code, f.action) for f in corrected.findings] == [("gantry-tilt", "mended")]
    assert len(corrected.places) == 40


def test_a_slice_shifted_sideways_is_refused():
    members = headers()
    assert refusal(with_field(members, 7, position=(-2.0, -6.0, 121.0))) == "shifted-slices"
    assert refusal(with_field(members, 7, position=(-5.1, -6.0, 121.0))) == ""


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"position": ()}, "no-position"),
        ({"position": (1.0, 2.0)}, "no-position"),
        ({"position": (float("nan"), 0.0, 0.0)}, "bad-geometry"),
        ({"position": (0.0, 0.0, 1e308)}, "bad-geometry"),
        ({"orientation": ()}, "no-orientation"),
        ({"pixel_spacing": ()}, "no-pixel-spacing"),
        ({"pixel_spacing": (0.7, 0.81)}, "mixed-spacing"),
        ({"pixel_spacing": (-0.7, 0.8)}, "bad-geometry"),
        ({"pixel_spacing": (float("inf"), 0.8)}, "bad-geometry"),
        ({"rows": 7, "pixel_bytes": 140}, "mixed-matrix"),
        ({"rows": 0}, "bad-matrix"),
        ({"rows": 65535, "columns": 65535}, "truncated"),
        ({"pixel_bytes": 0}, "no-pixels"),
        ({"pixel_bytes": 159}, "truncated"),
        ({"frames": 2**31 - 1}, "truncated"),
        ({"bits_allocated": 12}, "unsupported-bits"),
        ({"bits_stored": 17, "high_bit": 16}, "unsupported-bits"),
        ({"slope": None}, "no-rescale"),
        ({"intercept": None}, "no-rescale"),
        ({"slope": 0.0}, "bad-rescale"),
        ({"intercept": float("nan")}, "bad-rescale"),
        ({"slope": float("inf")}, "bad-rescale"),
        ({"rescale_type": "Z_EFF"}, "not-hounsfield"),
    ],
)
def test_one_bad_slice_refuses_the_stack(change, code):
    members = headers()
    assert refusal(members) == ""
    assert refusal(with_field(members, 11, **change)) == code


@pytest.mark.parametrize(
    "orientation", [(0.0,) * 6, (1.0, 0.0, 0.0, 0.6, 0.8, 0.0), (2.0, 0.0, 0.0, 0.0, 2.0, 0.0), (1.0, 0, 0, 1.0, 0, 0)]
)
def test_directions_that_are_no_axes_are_refused(orientation):
    assert refusal([replace(h, orientation=orientation) for h in headers()]) == "bad-geometry"


def test_directions_rounded_to_four_digits_are_accepted():
    a = np.radians(7.3)
    exact = (float(np.cos(a)), float(np.sin(a)), 0.0, float(-np.sin(a)), float(np.cos(a)), 0.0)
    members = [replace(h, orientation=tuple(round(v, 4) for v in exact)) for h in headers()]
    assert refusal(members) == ""


def test_one_slice_and_one_position_are_no_volume():
    assert refusal(headers(1)) == "single-slice"
    assert refusal([replace(h, position=(0.0, 0.0, 5.0)) for h in headers(9)]) == "one-position"


def test_what_is_no_ct_slice_is_set_aside_by_kind():
    plain = headers(5)
    odd = {
        "localizer": replace(plain[0], path="scout", image_type=("ORIGINAL", "PRIMARY", "LOCALIZER")),
        "color-image": replace(plain[0], path="dose", samples=3),
        "secondary-capture": replace(plain[0], path="shot", sop_class=SECONDARY, position=()),
        "other-modality": replace(plain[0], path="report", modality="SR", pixel_bytes=0),
        "damaged-file": SliceHeader("broken"),
    }
    found = select_slices([*plain, *odd.values()])
    assert found.slices == tuple(plain)
    assert {f.code: f.files for f in found.findings} == {f"ignored-{k}": (h.path,) for k, h in odd.items()}
    assert found.modalities == ("SR",)
    assert all("ignored" in f.text for f in found.findings)


def test_a_secondary_capture_with_place_and_rescale_counts_as_a_slice():
    members = headers(5)
    derived = [replace(h, sop_class=SECONDARY + ".3") for h in members]
    assert select_slices(derived).slices == tuple(derived)


@pytest.mark.parametrize("bytes_left", [0, 90])
def test_a_broken_copy_of_a_whole_slice_is_ignored_but_a_broken_slice_is_not(bytes_left):
    members = headers(5)
    part = replace(members[2], path="s002.dcm.part", pixel_bytes=bytes_left)
    found = select_slices([*members, part])
    assert found.slices == tuple(members)
    assert found.findings[0].code == "ignored-incomplete-copy"
    assert part in select_slices([h for h in members if h is not members[2]] + [part]).slices


def test_series_and_orientations_are_parted():
    axial, other = headers(9), headers(6, uid="4.5")
    coronal = headers(3, orientation=(1.0, 0.0, 0.0, 0.0, 0.0, -1.0))
    assert sorted(sizes([*axial, *other, *coronal])) == [3, 6, 9]
    lost = replace(axial[4], path="lost", orientation=())
    assert sorted(sizes([*axial, *coronal, lost])) == [3, 10]  # not dropped in silence


def test_acquisitions_are_parted_only_where_one_covers_the_others():
    first = headers(20, acquisition_number=1)
    again = [replace(h, sop_uid=h.sop_uid + ".2", acquisition_number=2) for h in first]
    assert sorted(sizes([*first, *again])) == [20, 20]
    assert sorted(sizes([*first, *again[4:9]])) == [5, 20]
    following = [moved(replace(h, acquisition_number=2), (0, 0, 60)) for h in first]
    assert sizes([*first, *following]) == [40]
    overlapping = [moved(replace(h, acquisition_number=2), (0, 0, 30)) for h in first]
    assert sizes([*first, *overlapping]) == [40]  # neither alone is the chest: judged together
    longer = [moved(replace(h, acquisition_number=2), (0, 0, 12)) for h in first]
    assert sizes([*first, *longer]) == [20, 20]  # 57 of 69 mm
    holed = [h for h in first if h.instance_number not in {9, 10, 11}]
    assert sizes([*holed, *longer[1:-4]]) == [32]  # no stack by itself


def test_tags_that_contradict_the_positions_are_told_and_not_used():
    plain = headers(20)
    agree = [replace(h, slice_step=3.0, slice_location=500 - 3.0 * k) for k, h in enumerate(plain)]
    assert judge(agree) == replace(judge(plain), slices=tuple(agree))
    for step in (5.0, -1.0, 0.0, float("nan")):
        stack = judge([replace(h, slice_step=step) for h in plain])
        assert stack.geometry == judge(plain).geometry
        (finding,) = stack.findings
        assert (finding.code, finding.action) == ("spacing-tag-disagrees", "noted")
        assert "in 20 slices, but positions are 3 mm apart" in finding.text
    assert not judge([replace(h, slice_step=-3.0) for h in plain]).findings
    for location in (lambda k: 5.0 * k, lambda _: 0.0, lambda k: 1e308 * (-1) ** k):
        stack = judge([replace(h, slice_location=location(k)) for k, h in enumerate(plain)])
        assert stack.geometry == judge(plain).geometry
        assert [f.code for f in stack.findings] == ["location-tag-disagrees"]
    lost = [replace(h, slice_location=3.0 * k) for k, h in enumerate(plain) if k != 7]
    assert [f.code for f in judge(lost, max_gap_mm=6).findings] == ["missing-slices"]


def shuffled(members):
    return [members[k] for k in np.random.default_rng(5).permutation(len(members))]


def test_interleaved_acquisitions_are_parted_and_a_repeated_slice_fills_its_gap():
    first = headers(20, acquisition_number=1)
    between = [moved(replace(h, acquisition_number=2), (0, 0, 1.5)) for h in first]
    assert sorted(sizes(shuffled([*first, *between]))) == [20, 20]
    again = [*first[:8], replace(first[8], acquisition_number=2), *first[9:]]
    assert sizes(again) == [20]
    turns = [replace(h, acquisition_number=h.instance_number // 4) for h in first]
    assert sizes(turns) == [20]
    next_one = moved(replace(first[-1], acquisition_number=2), (0, 0, 2.99))
    assert sizes([*first, next_one]) == [21]


@pytest.mark.parametrize("field", ["acquisition_time", "content_time"])
def test_repeated_places_are_parted_by_time_where_the_rounds_follow_each_other(field):
    first = [replace(h, **{field: f"1015{h.instance_number:02d}.5"}) for h in headers(20)]
    again = [replace(h, **{field: f"1020{h.instance_number:02d}"}, sop_uid=h.sop_uid + ".2") for h in first]
    stacks = [group.slices for group in group_slices(shuffled([*first, *again]))]
    assert [{getattr(h, field)[:4] for h in part} for part in stacks] == [{"1015"}, {"1020"}]
    assert list(map(len, stacks)) == [20, 20]
    mixed = [replace(h, **{field: f"1015{h.instance_number:02d}.7"}) for h in again]
    assert sizes([*first, *mixed]) == [20, 20]  # each position twice before the next one
    assert sizes([*first, *again[1:]]) == [20, 19]
    unknown = [replace(h, **{field: ""}) for h in first]
    assert sizes([*unknown, *again]) == [40]


def test_of_two_acquisitions_the_first_is_taken_whatever_the_order_of_files():
    first = headers(40, acquisition_number=3)
    again = [replace(h, sop_uid=h.sop_uid + ".2", acquisition_number=4) for h in first]
    for members in ([*first, *again], [*again, *first], shuffled([*first, *again])):
        stack, notes = choose_stack(judged(members))
        assert {h.acquisition_number for h in stack.slices} == {3}
        assert [f.code for f in notes] == ["split-series"]


def test_the_largest_chest_is_chosen_and_said():
    chest, thin = judge(headers(40)), judge(headers(60, 0.5, uid="thin"))
    coronal = judge(headers(90, 2.0, uid="mpr", orientation=(1.0, 0.0, 0.0, 0.0, 0.0, -1.0)))
    stack, notes = choose_stack([thin, chest, coronal])
    assert stack is chest
    assert [f.code for f in notes] == ["chose-series"]
    assert "series" in notes[0].text
    assert choose_stack([thin, coronal])[0] is coronal  # none is a chest: the largest


def test_a_refused_chest_is_not_passed_over_for_a_smaller_series():
    torn = judge([h for k, h in enumerate(headers(80)) if k != 40])
    assert choose_stack([torn, judge(headers(50, uid="small"))])[0] is torn


def test_a_series_is_picked_by_its_exact_uid():
    a, b = judge(headers(40, uid="1.2.3")), judge(headers(5, uid="1.2.33"))
    stack, notes = choose_stack([a, b], series="1.2.33")
    assert stack is b
    assert not notes
    with pytest.raises(SeriesError, match="none of the 2 CT series"):
        choose_stack([a, b], series="1.2")


def test_parts_of_the_chosen_series_that_are_left_out_are_said():
    axial = headers(40)
    coronal = headers(3, orientation=(1.0, 0.0, 0.0, 0.0, 0.0, -1.0))
    stack, notes = choose_stack(judged([*axial, *coronal]))
    assert len(stack.slices) == 40
    assert [f.code for f in notes] == ["split-series"]


def test_nothing_to_read_says_what_there_was():
    assert isinstance(no_slices_error(select_slices([replace(h, modality="MR") for h in headers(3)])), UnsupportedError)
    assert "MR" in str(no_slices_error(select_slices([replace(h, modality="MR") for h in headers(3)])))
    assert "unknown" in str(no_slices_error(select_slices([replace(h, modality="J^DOE\x1b") for h in headers(3)])))
    assert "damaged" in str(no_slices_error(select_slices([SliceHeader("x")])))


def test_names_of_files_are_made_safe():
    odd = (
        SliceHeader("a/b\x1b[2J.dcm"),
        SliceHeader("c/SMITH_JOHN.dcm", alias="file 2 of 9"),
        SliceHeader("d/IM7"),
        SliceHeader("IM8"),
    )
    assert name_some(h.display_name for h in odd) == "a file, file 2 of 9, IM7 and 1 more"
