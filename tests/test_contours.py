"""Contours filled on slices, held against exact arithmetic, scikit-image and matplotlib."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path as Outline
from skimage.measure import points_in_poly

from hilum.geometry import Geometry
from hilum.ops.labels.contours import fill_contours
from hilum.ops.polygons import fill_even_odd

SHAPE = (24, 30)
GRID = Geometry((7, 40, 50), (3.0, 0.8, 0.9), (-20.0, -15.0, 100.0))


def turned():
    """An oblique grid, its slices from head to feet."""
    axes, _ = np.linalg.qr(np.array([[0.2, -0.1, -1.0], [0.1, 1.0, -0.2], [1.0, 0.0, 0.3]]).T)
    return Geometry((7, 40, 50), (3.0, 0.8, 0.9), (10.0, 25.0, -300.0), tuple(map(tuple, axes.T.tolist())))


def filled(polygon, shape=SHAPE):
    """One polygon, filled into a whole image."""
    image = np.zeros(shape, bool)
    ((row, column, inside),) = fill_even_odd([np.asarray(polygon, float)], shape)
    image[row : row + inside.shape[0], column : column + inside.shape[1]] = inside
    return image


def slow(polygon, shape=SHAPE):
    """The same in exact arithmetic, pixel by pixel: an edge counts if it crosses the row at or left of the center."""
    corners = [(Fraction(r), Fraction(c)) for r, c in polygon]
    image = np.zeros(shape, bool)
    for i in range(shape[0]):
        for j in range(shape[1]):
            for (r, c), (s, d) in pairwise([*corners, corners[0]]):
                if min(r, s) <= i < max(r, s) and c + (i - r) / (s - r) * (d - c) <= j:
                    image[i, j] ^= True
    return image


def box(top, left, bottom, right):
    return [(top, left), (top, right), (bottom, right), (bottom, left)]


def contour(grid, k, corners):
    """A contour in a slice of a grid, from its corners (row, column)."""
    return grid.index_to_world([(k, r, c) for r, c in corners])


def fill(grid, *contours, **options):
    return fill_contours([contour(grid, k, corners) for k, corners in contours], grid, **options)


def pixels(result, k):
    return {tuple(map(int, at)) for at in np.argwhere(result.mask.array[k])}


def block(top, left, bottom, right):
    return {(r, c) for r in range(top, bottom) for c in range(left, right)}


QUARTERS = st.integers(-12, 130).map(lambda n: n / 4)


@given(st.lists(st.tuples(QUARTERS, QUARTERS), min_size=1, max_size=12))
def test_any_polygon_is_filled_as_exact_arithmetic_says(polygon):
    assert np.array_equal(filled(polygon), slow(polygon))


@pytest.mark.parametrize("seed", range(20))
def test_polygons_with_corners_off_the_centers_are_those_of_scikit_image_and_matplotlib(seed):
    random = np.random.default_rng(seed)
    polygon = random.uniform(-4, 32, (random.integers(3, 40), 2))
    centers = np.stack(np.mgrid[: SHAPE[0], : SHAPE[1]], axis=-1).reshape(-1, 2)
    image = filled(polygon).ravel()
    assert np.array_equal(image, points_in_poly(centers, polygon))
    if seed % 2:  # matplotlib fills loops by another rule: only polygons that do not cross themselves
        angles = np.sort(random.uniform(0, 2 * np.pi, 30))
        polygon = np.stack([11 + 9 * np.sin(angles), 14 + 12 * np.cos(angles)], axis=1)
        assert np.array_equal(filled(polygon).ravel(), Outline(polygon).contains_points(centers))


def test_a_center_on_an_edge_belongs_to_the_side_of_higher_rows_and_columns():
    result = fill(GRID, (2, box(5, 6, 9, 12)))
    assert pixels(result, 2) == block(5, 6, 9, 12)  # the first row and column, and not the last
    assert result.mask.array.sum() == 4 * 6


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 60)), max_size=8),
    st.integers(0, 60),
    st.integers(0, 60),
    st.booleans(),
)
def test_of_two_regions_that_touch_each_pixel_goes_to_one(corners, first, last, oblique):
    """A zigzag line divides a box; its corners lie on centers of pixels and half way between."""
    grid = turned() if oblique else GRID
    line = [(0.0, 5 + first / 2), *((r / 2, 5 + c / 2) for r, c in sorted(corners)), (20.0, 5 + last / 2)]
    left = fill(grid, (3, [(0, 3), *line, (20, 3)])).mask.array
    right = fill(grid, (3, [(0, 45), *line[:], (20, 45)][::-1])).mask.array
    whole = fill(grid, (3, box(0, 3, 20, 45))).mask.array
    assert not (left & right).any()
    assert np.array_equal(left | right, whole)


def test_a_contour_in_another_is_a_hole_and_one_in_the_hole_an_island():
    nested = [(1, box(4, 4, 30, 30)), (1, box(12, 12, 18, 18)), (1, box(8, 8, 24, 24))]
    result = fill(GRID, *nested, (4, box(0, 0, 3, 3)), (4, box(10, 10, 13, 13)))
    assert pixels(result, 1) == block(4, 4, 30, 30) - block(8, 8, 24, 24) | block(12, 12, 18, 18)
    assert pixels(result, 4) == block(0, 0, 3, 3) | block(10, 10, 13, 13)
    assert (result.used, result.overlapping, result.repeated) == (5, 0, 0)


def test_small_holes_far_apart_are_two():
    holes = (1, box(10, 10, 11, 11)), (1, box(10, 20, 11, 21))
    result = fill(GRID, (1, box(4, 4, 30, 30)), *holes)
    assert pixels(result, 1) == block(4, 4, 30, 30) - {(10, 10), (10, 20)}
    assert result.repeated == 0


@pytest.mark.parametrize("channel", [0.0, 0.25])
def test_a_keyhole_leaves_a_hole(channel):
    outer = [(15.5, 4), *box(4, 4, 30, 30), (15.5 + channel, 4)]
    hole = [(15.5 + channel, 8), (24, 8), (24, 24), (8, 24), (8, 8), (15.5, 8)]
    result = fill(GRID, (1, [*outer, *hole]))
    assert pixels(result, 1) == block(4, 4, 30, 30) - block(8, 8, 24, 24)


def test_a_contour_that_is_stored_twice_is_no_hole():
    shifted = [(r + 0.3, c - 0.2) for r, c in box(4, 4, 30, 30)]
    for again in (box(4, 4, 30, 30), box(4, 4, 30, 30)[::-1], shifted):
        result = fill(GRID, (1, box(4, 4, 30, 30)), (1, again), (1, box(10, 10, 15, 15)))
        assert len(pixels(result, 1) ^ (block(4, 4, 30, 30) - block(10, 10, 15, 15))) <= 30
        assert result.repeated == 1
    ring = fill(GRID, (1, box(4, 4, 30, 30)), (1, box(5, 5, 29, 29)))  # a ring of one pixel is a ring
    assert (len(pixels(ring, 1)), ring.repeated) == (100, 0)


def test_contours_that_overlap_in_part_are_joined_unless_the_file_says_xor():
    pair = (2, box(4, 4, 14, 14)), (2, box(9, 9, 20, 20))
    result = fill(GRID, *pair)
    assert pixels(result, 2) == block(4, 4, 14, 14) | block(9, 9, 20, 20)
    assert result.overlapping == 1
    assert pixels(fill(GRID, *pair, xor=True), 2) == block(4, 4, 14, 14) ^ block(9, 9, 20, 20)
    apart = fill(GRID, (2, box(4, 4, 14, 14)), (2, box(14, 4, 20, 14)))  # these touch
    assert apart.overlapping == 0
    for beyond in (1, 2, 3):  # of 20 columns: nine tenths inside make a hole
        out = fill(GRID, (2, box(0, 0, 30, 30)), (2, box(10, 10 + beyond, 15, 30 + beyond)))
        inner = block(10, 10 + beyond, 15, 30 + beyond)
        assert pixels(out, 2) == (block(0, 0, 30, 30) ^ inner if beyond < 3 else block(0, 0, 30, 30) | inner)


@pytest.mark.parametrize("grid", [GRID, turned()])
def test_a_contour_fills_the_nearest_slice(grid):
    for away, number in (
        (0.0, 2),
        (0.4, 2),
        (-0.4, 2),
        (0.46, 2),
        (0.48, 3),
        (0.5, 3),
        (0.6, 3),
        (-0.53, 2),
        (-0.56, 1),
    ):
        result = fill(grid, (2 + away, box(5, 5, 9, 9)))
        assert [k for k in range(7) if pixels(result, k)] == [number], away
        assert result.between == (abs(2 + away - number) * 3 > 0.1)
        assert result.furthest_mm == pytest.approx(abs(2 + away - number) * 3 if away else 0, abs=1e-6)
    for away, kept in ((6.4, 1), (6.6, 0), (-0.45, 1), (-0.6, 0)):
        result = fill(grid, (away, box(5, 5, 9, 9)))
        assert (result.used, result.off_slices) == (kept, 1 - kept)


def test_rounded_positions_are_no_position_between_slices():
    assert [fill(GRID, (2 + away / 3, box(5, 5, 9, 9))).between for away in (0.09, 0.11)] == [0, 1]


def test_of_several_planes_in_a_slice_the_nearest_is_taken():
    result = fill(GRID, (1.7, box(0, 0, 30, 30)), (2.03, box(5, 5, 9, 9)), (2.3, box(0, 0, 30, 30)))
    assert pixels(result, 2) == block(5, 5, 9, 9)
    assert (result.used, result.crowded, result.between) == (1, 2, 0)


def test_a_contour_across_the_slices_is_left_out():
    for slope, across in ((0.9, 0), (1.1, 1)):
        points = GRID.index_to_world([(2 + slope * (r / 10 - 0.5), r, c) for r, c in box(0, 0, 10, 10)])
        result = fill_contours([points], GRID)
        assert (result.across, result.used) == (across, 1 - across)
    sagittal = GRID.index_to_world([(k, r, 20) for k, r in box(0, 5, 6, 30)])
    assert fill_contours([sagittal], GRID).across == 1


def test_what_reaches_beyond_the_image_is_cut_and_counted():
    result = fill(GRID, (2, box(-10, -10, 5, 5)), (3, box(35, 45, 100, 100)), (4, box(-90, 5, -80, 9)))
    assert (pixels(result, 2), pixels(result, 3)) == (block(0, 0, 5, 5), block(35, 45, 40, 50))
    assert (result.cut, result.too_small) == (3, 1)
    assert fill(GRID, (2, box(-0.5, -0.5, 39.5, 49.5))).cut == 0


def test_a_contour_between_centers_is_counted():
    result = fill(GRID, (2, box(5.1, 5.1, 5.9, 5.9)), (2, [(7, 7)]), (2, [(9, 9), (12, 12)]))
    assert not result.mask.array.any()
    assert result.too_small == 3


def circle(radius, center=(19.5, 24.5), grid=GRID):
    angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    rows, columns = radius * np.sin(angles) / grid.spacing[1], radius * np.cos(angles) / grid.spacing[2]
    return np.stack([center[0] + rows, center[1] + columns], axis=1)


@pytest.mark.parametrize("step", [2, 3])
def test_a_region_drawn_on_every_second_or_third_slice_is_interpolated(step):
    result = fill(GRID, *((k, circle(4 + k)) for k in range(0, 7, step)))
    whole = fill(GRID, *((k, circle(4 + k)) for k in range(7)))
    assert (result.interpolated, result.gaps, whole.interpolated) == (7 - len(range(0, 7, step)), 0, 0)
    areas = result.mask.array.sum(axis=(1, 2)) * GRID.spacing[1] * GRID.spacing[2]
    assert areas == pytest.approx([np.pi * (4 + k) ** 2 for k in range(7)], rel=0.05)


def test_planes_a_little_further_apart_than_slices_leave_none_out():
    result = fill(GRID, *((1.2 * k, circle(9)) for k in range(6)))
    assert result.mask.array.any(axis=(1, 2)).all()
    assert (result.interpolated, result.gaps) == (1, 0)


def test_irregular_gaps_stay_empty_and_are_counted():
    for numbers, gaps in (((0, 1, 3, 4), 1), ((0, 2, 5), 3), ((1, 4), 2), ((2,), 0)):
        result = fill(GRID, *((k, circle(8)) for k in numbers))
        assert (result.interpolated, result.gaps) == (0, gaps)
        assert [k for k in range(7) if result.mask.array[k].any()] == list(numbers)


def test_planes_of_a_thicker_series_fill_thin_slices():
    thin = Geometry((25, 40, 50), (1.0, 0.8, 0.9), (-20.0, -15.0, 100.0))
    planes = [(2 + 2.5 * k, circle(9 - k / 2)) for k in range(8)]
    result = fill(thin, *planes)
    marked = np.flatnonzero(result.mask.array.any(axis=(1, 2)))
    assert marked.tolist() == list(range(2, 21))
    assert (result.gaps, result.interpolated) == (0, 11)
    areas = result.mask.array.sum(axis=(1, 2))[marked] * 0.72
    assert areas == pytest.approx([np.pi * (9 - (k - 2) / 5) ** 2 for k in marked], rel=0.08)


@pytest.mark.parametrize("grid", [GRID, turned()])
def test_a_ball_keeps_its_volume_and_center_on_any_grid(grid):
    center, radius = (3.2, 19.3, 24.6), 9.0
    heights = [(k - center[0]) * grid.spacing[0] for k in range(7)]
    contours = [
        (k, circle(np.sqrt(radius**2 - h**2), center[1:], grid)) for k, h in enumerate(heights) if abs(h) < radius
    ]
    result = fill(grid, *contours)
    volume = sum(np.pi * (radius**2 - h**2) for h in heights if abs(h) < radius) * grid.spacing[0]
    assert result.mask.volume_ml() * 1000 == pytest.approx(volume, rel=0.01)
    middle = grid.index_to_world(np.argwhere(result.mask.array)).mean(axis=0)
    assert np.abs(middle - grid.index_to_world(center)).max() < 0.5


def test_a_contour_of_a_million_points_and_thousands_of_contours_are_filled():
    angles = np.linspace(0, 2 * np.pi, 1_000_000, endpoint=False)
    many = np.stack([20.1 + 15 * np.sin(angles), 25.2 + 18 * np.cos(angles)], axis=1)
    few = many[::1000]
    points = [
        contour(GRID, 1, many),
        *(contour(GRID, 3, box(k % 30, k % 40, k % 30 + 1, k % 40 + 1)) for k in range(3000)),
    ]
    result = fill_contours(points, GRID)
    assert np.array_equal(result.mask.array[1], fill(GRID, (1, few)).mask.array[1])
    assert len(pixels(result, 3)) == 120
    assert result.repeated == 3000 - 120


def test_no_contour_is_an_empty_region():
    assert not fill_contours([], GRID).mask.array.any()
