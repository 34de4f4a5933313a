from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist

from hilum import Geometry, Nodule, Reading, agreement, consensus_mask, cover_nodules, mask_nodules, reading_mask
from hilum.errors import AnnotationError, InputError
from hilum.ops.nodules.interpolation import _distance_to, signed_distances
from hilum.ops.nodules.outlines import fill_polygon, reading_diameter_mm, reading_volume_mm3
from hilum.ops.nodules.readings import cluster_readings, least_distance, mean_agreement, nodule_of
from hilum.testing import geometries
from hilum.volume import Mask

GRID = Geometry((12, 40, 40), (2.5, 0.7, 0.7), (-20.0, 5.0, -100.0))
PLACES = st.tuples(st.integers(0, 12), st.integers(0, 12))


def winding(points, row, column):
    """The angle that a walk round the polygon turns about a place, in whole turns; exact enough off the polygon."""
    legs = np.append(points, points[:1], axis=0) - (row, column)
    angles = np.arctan2(legs[:, 0], legs[:, 1])
    return round(float(np.sum((np.diff(angles) + np.pi) % (2 * np.pi) - np.pi)) / (2 * np.pi))


def on_polygon(points, row, column):
    """Whether a place lies on an edge, in whole numbers."""
    for (r, c), (s, d) in zip(points, np.roll(points, -1, axis=0), strict=True):
        beside = (s - r) * (column - c) - (d - c) * (row - r)
        if not beside and min(r, s) <= row <= max(r, s) and min(c, d) <= column <= max(c, d):
            return True
    return False


@given(st.lists(PLACES, min_size=1, max_size=9))
@settings(max_examples=200)
def test_any_polygon_is_filled_as_its_turns_say(places):
    points = np.array(places)
    inside, on = fill_polygon(points.astype(float) - 1, (11, 11))  # parts of it lie outside the image
    for row, column in np.ndindex(11, 11):
        edge = on_polygon(points, row + 1, column + 1)
        assert on[row, column] == edge
        if not edge:
            assert inside[row, column] == (winding(points, row + 1, column + 1) != 0)


def test_an_outline_drawn_twice_or_crossing_itself_stays_filled():
    square = [(0, 0), (0, 6), (6, 6), (6, 0)]
    once = fill_polygon(np.array(square, float), (7, 7))[0]
    assert np.array_equal(fill_polygon(np.array(square * 2, float), (7, 7))[0], once)
    bow, on = fill_polygon(np.array([(0, 0), (6, 6), (6, 0), (0, 6)], float), (7, 7))
    assert (bow & ~on).sum() == 8  # two triangles, each of 3 and 1 pixels


def square(k, low, high, *, grid=GRID):
    """A closed square outline on a slice, from pixel `low` to pixel `high` in both directions."""
    side = np.arange(low, high)
    rows = np.concatenate([np.full(high - low, low), side, np.full(high - low, high), side[::-1] + 1, [low]])
    columns = np.concatenate([side, np.full(high - low, high), side[::-1] + 1, np.full(high - low, low), [low]])
    return grid.index_to_world(np.column_stack([np.full(len(rows), k), rows, columns]))


def reading(reader=1, *, slices=range(4, 8), low=10, high=20, holes=(), grid=GRID, **scores):
    contours = tuple(square(k, low, high, grid=grid) for k in slices)
    return Reading(reader, grid, contours, tuple(holes), scores)


def nodule(*readings):
    return Nodule((0.0, 0.0, 0.0), 5.0, readings)


def test_the_pixels_of_the_outline_belong_only_where_asked():
    inner, outer = reading_mask(reading()), reading_mask(reading(), contour_pixel="include")
    assert inner.array.sum() == 4 * 9 * 9
    assert outer.array.sum() == 4 * 11 * 11
    assert np.array_equal(inner.geometry.origin, GRID.index_to_world((4, 10, 10)))
    with pytest.raises(InputError, match="contour_pixel is 'both'"):
        reading_mask(reading(), contour_pixel="both")


def test_a_hole_takes_its_outline_along():
    holed = reading(holes=(square(5, 13, 17), square(30, 1, 2)))
    assert reading_mask(holed).array.sum() == 4 * 81 - 25
    assert reading_mask(holed, contour_pixel="include").array.sum() == 4 * 121 - 25
    assert reading_volume_mm3(holed) == pytest.approx(2.5 * 0.49 * (4 * 100 - 16 - 1))
    assert reading_diameter_mm(holed) == pytest.approx(7 * np.sqrt(2))


def test_an_outline_without_inside_marks_its_own_pixels():
    line = Reading(1, GRID, (GRID.index_to_world([(3, 5, 5), (3, 5, 8)]),))
    assert reading_mask(line).array.sum() == 4
    point = Reading(1, GRID, (GRID.index_to_world([(3, 5.3, 5)]),))
    assert reading_mask(point).array.sum() == 1
    with_more = Reading(1, GRID, (*line.contours, square(4, 5, 8)))
    assert reading_mask(with_more).array.sum() == 4  # what is drawn on another slice is enough


def test_outlines_beyond_the_grid_are_filled_all_the_same():
    beyond = reading(slices=range(-3, 20), low=-5, high=3)
    assert reading_mask(beyond).array.sum() == 23 * 49
    assert mask_nodules(GRID, [nodule(beyond)]).array.sum() == 12 * 9


def test_the_consensus_counts_readers_not_readings():
    three = [reading(1), reading(2, low=12, high=22), reading(3, low=12, high=20), reading(3, low=30, high=34)]
    count = np.zeros((4, 25, 25), int)
    for reader in ([three[0]], [three[1]], three[2:]):
        drawn = np.zeros(count.shape, bool)
        for part in reader:
            mask = reading_mask(part)
            first = np.rint(GRID.world_to_index(mask.geometry.origin)).astype(int) - (4, 10, 10)
            drawn[tuple(slice(a, a + n) for a, n in zip(first, mask.shape, strict=True))] |= mask.array > 0
        count += drawn
    for level, needed in ((0.01, 1), (1 / 3, 1), (0.34, 2), (0.5, 2), (2 / 3, 2), (0.67, 3), (1.0, 3)):
        assert np.array_equal(consensus_mask(nodule(*three), level=level).array > 0, count >= needed), level


def test_readers_may_be_many():
    many = nodule(*(reading(k, slices=(4,), low=10, high=12) for k in range(300)))
    assert consensus_mask(many, level=1.0).array.sum() == 1


@pytest.mark.parametrize("level", [0, -1, 1.01, float("nan")])
def test_a_level_that_is_none_is_refused(level):
    for draw in (lambda: consensus_mask(nodule(reading()), level=level), lambda: mask_nodules(GRID, [], level=level)):
        with pytest.raises(InputError, match="consensus level"):
            draw()


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(AnnotationError, match="no consensus"):
        consensus_mask(nodule())
    moved = replace(GRID, origin=(-19.9, 5.0, -100.0))
    with pytest.raises(AnnotationError, match="different grids"):
        consensus_mask(nodule(reading(1), reading(2, grid=moved)))
    coarse = replace(GRID, spacing=(2.5, 0.7, 1.4))
    with pytest.raises(AnnotationError, match="different grids"):
        consensus_mask(nodule(reading(1), reading(2, grid=coarse)))
    with pytest.raises(AnnotationError, match="does not lie in one slice"):
        reading_mask(Reading(1, GRID, (GRID.index_to_world([(3, 5, 5), (3.4, 5, 8), (3, 9, 9)]),)))
    with pytest.raises(AnnotationError, match="too many for a nodule"):
        reading_mask(Reading(1, GRID, (GRID.index_to_world([(3, 5, 5), (3, 1e6, 1e6)]),)))
    with pytest.raises(AnnotationError, match="no outline"):
        Reading(1, GRID, ())
    for wrong in (np.zeros((4, 2)), np.zeros((0, 3)), np.full((3, 3), np.nan)):
        with pytest.raises(AnnotationError, match="outline of shape"):
            Reading(1, GRID, (wrong,))


def test_a_nodule_with_readings_survives_pickling_and_cannot_be_changed():
    one = nodule_of([reading(1, malignancy=3.0), reading(2, malignancy=4.0, margin=2.0)])
    again = pickle.loads(pickle.dumps(one))  # noqa: S301 - our own bytes
    assert again.scores == one.scores == {"malignancy": 3.5, "margin": 2.0}
    assert np.array_equal(consensus_mask(again).array, consensus_mask(one).array)
    with pytest.raises(ValueError, match="read-only"):
        again.readings[0].contours[0][0, 0] = 1


def test_center_diameter_and_scores_are_means_of_the_readers():
    one = nodule_of([reading(1, malignancy=1.0), reading(2, slices=(5, 6), low=12, high=16, malignancy=5.0)])
    own = [GRID.index_to_world((5.5, 15, 15)), GRID.index_to_world((5.5, 14, 14))]
    assert one.center == pytest.approx(np.mean(own, axis=0))
    volumes = np.array([4 * 81, 2 * 9]) * 2.5 * 0.49
    assert one.diameter_mm == pytest.approx(np.cbrt(6 * volumes / np.pi).mean())
    assert one.scores == {"malignancy": 3.0}


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_distances_to_what_is_marked_are_those_of_scipy(seed):
    chance = np.random.default_rng(seed)
    wanted = chance.random(chance.integers(1, 20, 2)) < chance.random()
    wanted[tuple(chance.integers(0, wanted.shape))] = True
    spacing = tuple(chance.uniform(0.3, 3, 2).tolist())
    want = ndimage.distance_transform_edt(~wanted, sampling=spacing)
    np.testing.assert_allclose(_distance_to(wanted, spacing), want, rtol=1e-5)


@given(geometries(min_size=2, max_size=8), st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_on_its_own_grid_a_mask_stays_as_it_is(grid, seed):
    marked = np.random.default_rng(seed).random(grid.shape) < 0.4
    inside = signed_distances(Mask(marked, grid)).contains(np.indices(grid.shape).astype(float))
    assert np.array_equal(inside, marked)


def test_between_two_slices_an_outline_grows_steadily_and_ends_half_a_slice_beyond():
    marked = np.zeros((2, 31, 31), bool)
    marked[0, 13:18, 13:18] = True
    marked[1, 5:26, 5:26] = True
    held = signed_distances(Mask(marked, Geometry(marked.shape, (4, 1, 1))))
    heights = np.array([-0.6, -0.4, 0, 0.25, 0.5, 0.75, 1, 1.4, 1.6])
    across = [int(held.contains((np.full(31, z), np.full(31, 15.0), np.arange(31.0))).sum()) for z in heights]
    assert across == [0, 5, 5, 9, 13, 17, 21, 21, 0]


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 0.6, 0.8)])
def test_volume_and_place_are_carried_to_an_oblique_grid(spacing):
    turn = 0.5
    direction = ((np.sin(turn), 0, np.cos(turn)), (0, 1, 0), (np.cos(turn), 0, -np.sin(turn)))
    drawn = nodule_of([reading(low=8, high=30, slices=range(3, 9))])
    shape = tuple(int(40 / s) for s in spacing)
    truth = reading_mask(drawn.readings[0]).volume_ml()
    volumes, middles = [], []
    for shift in np.random.default_rng(4).uniform(-0.5, 0.5, (8, 3)):
        corner = np.array(drawn.center) - np.array(direction).T @ (np.array(spacing) * (np.array(shape) / 2 + shift))
        grid = Geometry(shape, spacing, tuple(corner), direction)
        mask = mask_nodules(grid, [drawn])
        volumes.append(mask.volume_ml())
        middles.append(grid.index_to_world(np.argwhere(mask.array).mean(axis=0)))
    assert np.mean(volumes) == pytest.approx(truth, rel=0.02)
    assert np.mean(middles, axis=0) == pytest.approx(drawn.center, abs=0.1)
    shares = cover_nodules(grid, [drawn])
    assert shares.array.sum() * grid.voxel_volume / 1000 == pytest.approx(truth, rel=0.01)


@given(st.tuples(*[st.booleans()] * 3), st.permutations(range(3)))
def test_a_grid_that_is_flipped_or_turned_gets_the_same_mask(flips, order):
    one = nodule_of([reading(holes=(square(5, 13, 17),))])
    plain = mask_nodules(GRID, [one]).array
    shape, spacing, direction = list(GRID.shape), list(GRID.spacing), [np.array(d) for d in GRID.direction]
    corner = [n - 1 if flip else 0 for n, flip in zip(shape, flips, strict=True)]
    direction = [-d if flip else d for d, flip in zip(direction, flips, strict=True)]
    turned = Geometry(
        tuple(shape[k] for k in order),
        tuple(spacing[k] for k in order),
        tuple(GRID.index_to_world(corner)),
        tuple(tuple(direction[k]) for k in order),
    )
    want = np.flip(plain, [k for k in range(3) if flips[k]]).transpose(order)
    assert np.array_equal(mask_nodules(turned, [one]).array, want)


def test_overlapping_outlines_go_to_the_nearer_center():
    left = replace(nodule_of([reading(low=10, high=20)]), center=tuple(GRID.index_to_world((5.5, 15, 15))))
    right = replace(nodule_of([reading(low=15, high=25)]), center=tuple(GRID.index_to_world((5.5, 20, 20))))
    line = mask_nodules(GRID, [left, right]).array[5, np.arange(9, 26), np.arange(9, 26)]
    assert line.tolist() == [0, 0, *[1] * 7, *[2] * 7, 0]
    ball = Nodule(right.center, 8.0)
    both = mask_nodules(GRID, [left, ball]).array
    assert both[5, 20, 20] == 2
    assert both[5, 12, 12] == 1


def test_shares_of_voxels_add_up_to_the_sphere():
    grid = Geometry((30, 30, 30), (1, 1, 1))
    places = np.random.default_rng(3).uniform(13, 16, (20, 3)).tolist()
    for x, y, z in places:
        for diameter in (5.0, 9.0):
            share = cover_nodules(grid, [Nodule((x, y, z), diameter)])
            assert share.array.dtype == np.float32
            assert share.array.sum() == pytest.approx(np.pi * diameter**3 / 6, rel=0.02)
            whole = mask_nodules(grid, [Nodule((x, y, z), diameter - 2)]).array > 0
            assert (share.array[whole] == 1).all()


def test_shares_are_those_of_a_finer_grid():
    grid = Geometry((9, 10, 11), (1.5, 1.0, 0.8), (3.0, 4.0, 5.0))
    fine = Geometry((36, 40, 44), (0.375, 0.25, 0.2), tuple(grid.index_to_world((-0.375, -0.375, -0.375))))
    two = [Nodule((7.0, 8.1, 9.2), 5.0), Nodule((8.5, 9.0, 10.0), 4.0)]
    for some in (two, two[:1]):
        want = (mask_nodules(fine, some).array > 0).reshape(9, 4, 10, 4, 11, 4).mean(axis=(1, 3, 5))
        np.testing.assert_allclose(cover_nodules(grid, some).array, want, atol=1e-6)
    with pytest.raises(InputError, match="samples is 0"):
        cover_nodules(grid, two, samples=0)


def test_a_nodule_that_barely_reaches_a_voxel_has_its_share_of_it():
    grid = Geometry((1, 1, 4), (1, 1, 1))
    share = cover_nodules(grid, [Nodule((1.4, 0.0, 0.0), 0.6)]).array.ravel()
    assert share[0] == 0
    assert share[1] > 0
    assert share[2] > 0


def group_at_once(readings, tolerance, most):
    """The rule with one tolerance for the whole scan, on a matrix of all signed_distances."""
    points = [np.concatenate(r.contours) for r in readings]
    away = np.array([[cdist(a, b).min() for b in points] for a in points])
    while True:
        _, numbers = connected_components(away <= tolerance + 1e-6, directed=False)
        if np.bincount(numbers).max() <= most or tolerance < 0.1 / 0.9:
            return {frozenset(np.flatnonzero(numbers == k).tolist()) for k in set(numbers.tolist())}
        tolerance *= 0.9


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 9), st.integers(0, 25)), min_size=1, max_size=8))
@settings(max_examples=60)
def test_readings_are_grouped_by_the_distance_of_their_outlines(places):
    readings = [reading(reader, slices=(k,), low=low, high=low + 4) for reader, k, low in places]
    got = cluster_readings(readings, tolerance_mm=2.5, readers=8)
    position = {id(r): k for k, r in enumerate(readings)}
    assert {frozenset(position[id(r)] for r in group) for group in got} == group_at_once(readings, 2.5, 8)
    heights = [np.mean([r.contours[0][0, 2] for r in group]) for group in got]
    assert heights == sorted(heights)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.01, 0.3, 4.0]), st.booleans())
@settings(max_examples=30)
def test_the_least_distance_is_that_of_all_pairs(seed, limit, crowded):
    chance = np.random.default_rng(seed)
    one, other = (chance.uniform(0, chance.uniform(1, 30), (chance.integers(1, 900), 3)) for _ in range(2))
    if crowded:
        one, other = np.round(one), np.concatenate([np.round(other) + 0.25, np.full((400, 3), 0.5)])
    want = cdist(one, other).min()
    got = least_distance(one, other, limit=limit)
    assert got == pytest.approx(want, abs=1e-12) if want <= limit else got > limit


def test_a_group_larger_than_its_readers_is_parted_and_no_other():
    near = [reading(1, slices=(2, 3)), reading(2, slices=(2, 3)), reading(1, slices=(4, 5)), reading(2, slices=(4, 5))]
    assert [len(g) for g in cluster_readings(near, tolerance_mm=2.5, readers=4)] == [4]
    assert [len(g) for g in cluster_readings(near, tolerance_mm=2.5, readers=3)] == [2, 2]
    apart = [reading(3, slices=(0,), low=30, high=33), reading(4, slices=(1,), low=30, high=33)]
    assert sorted(len(g) for g in cluster_readings(near + apart, tolerance_mm=2.5, readers=3)) == [2, 2, 2]
    same = [reading(k) for k in (1, 1, 2)]
    assert [len(g) for g in cluster_readings(same, tolerance_mm=2.5, readers=2)] == [3]
    assert cluster_readings([], tolerance_mm=2.5, readers=4) == []


def test_agreement_is_the_dice_coefficient_of_each_pair():
    three = nodule_of([reading(1), reading(2, low=12, high=22), reading(3, slices=(9,))])
    table = agreement(three)
    both = 4 * 7 * 7
    assert table == pytest.approx(np.array([[1, both / 324, 0], [both / 324, 1, 0], [0, 0, 1]]))
    assert mean_agreement(three) == pytest.approx(both / 324 / 3)
    assert mean_agreement(nodule(reading())) == mean_agreement(Nodule((0.0, 0.0, 0.0), 1.0)) == 1.0
