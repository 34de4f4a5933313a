"""The lungs' pieces held against slow and obvious ones: blobs and their balls, growth, cells, gas, the spine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from hilum._kernels.anatomy import canonical, coarse
from hilum._kernels.bitmask import bits, morphology
from hilum._kernels.components import blobs, labeling
from hilum.ops.gas import find_walled_gas
from hilum.ops.lungs import chest, wall_nodules
from hilum.ops.lungs.cells import LungCells
from hilum.ops.resample import resample
from hilum.phantom.chest import PhantomOptions, make_phantom

FACE_MOVES = [(-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1)]


def world(shape, spacing):
    return np.stack(np.meshgrid(*[np.arange(n) * s for n, s in zip(shape, spacing, strict=True)], indexing="ij"), -1)


def masks(draw, shape, share):
    noise = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).random(shape)
    return ndimage.uniform_filter(noise, 2) < share


@st.composite
def scenes(draw):
    """Air, lung that holds it, and blobs in the rest of the lung."""
    shape = tuple(draw(st.integers(2, n)) for n in (6, 8, 70))
    lung = masks(draw, shape, 0.6)
    air = lung & masks(draw, shape, 0.5)
    return lung, air, tuple(draw(st.sampled_from([0.7, 1.0, 2.5])) for _ in range(3))


@settings(max_examples=40)
@given(scenes())
def test_surfaces_add_up_face_by_face(scene):
    lung, air, spacing = scene
    shape = lung.shape
    runs = labeling.find_components(bits.pack(lung & ~air), corners=False)
    boxes = labeling.boxes(runs)
    got = blobs.surface_sums(runs, boxes, bits.pack(air), bits.pack(lung), spacing)
    named, count = ndimage.label(lung & ~air)
    assert count == runs.number
    for index in range(count):
        want, places = np.zeros(15), np.argwhere(named == index + 1)
        for place in places:
            for move in FACE_MOVES:
                other = tuple(place + move)
                if not all(0 <= a < n for a, n in zip(other, shape, strict=True)):
                    continue
                area = np.prod(spacing) / spacing[int(np.argmax(np.abs(move)))]
                if not air[other]:
                    want[1] += area * (not lung[other])
                    continue
                p = (place - places.min(axis=0) + np.array(move) / 2) * spacing
                a, b, c = p
                far = p @ p
                products = [a * a, a * b, a * c, b * b, b * c, c * c]
                want += area * np.array([1, 0, *p, *products, *(far * p), far * far])
        assert np.allclose(got[index], want, rtol=1e-9)


@settings(max_examples=40)
@given(
    st.floats(4.0, 9.0),
    st.tuples(*[st.floats(-0.5, 0.5)] * 3),
    st.tuples(*[st.sampled_from([0.8, 1.0, 1.4])] * 3),
    st.floats(0.3, 0.9),
)
def test_a_ball_half_sunk_in_a_wall_is_found_again(radius, shift, spacing, depth):
    shape = tuple(int(34 / s) for s in spacing)
    places, center = world(shape, spacing), np.array([16.0, 16.0, 16.0]) + shift
    ball = ((places - center) ** 2).sum(axis=-1) <= radius**2
    wall = places[..., 1] < center[1] - depth * radius
    air = ~(ball | wall)
    runs = labeling.find_components(bits.pack(ball & ~wall), corners=False)
    boxes = labeling.boxes(runs)
    sums = blobs.surface_sums(runs, boxes, bits.pack(air), bits.pack(air | (ball & ~wall)), spacing)
    (found,) = blobs.fit_balls(sums, boxes, spacing)
    assert np.abs(found[:3] - center).max() < 0.6
    assert abs(found[3] - radius) < 0.6
    assert found[4] < 0.6
    share = blobs.share_outside(bits.pack(~wall), found[None], spacing)[0]
    inside = ((places - found[:3]) ** 2).sum(axis=-1) <= found[3] ** 2
    assert share == pytest.approx(np.count_nonzero(inside & wall) / np.count_nonzero(inside))


def test_a_plane_has_no_ball():
    solid = np.zeros((6, 20, 20), bool)
    solid[:, :10] = True
    runs = labeling.find_components(bits.pack(solid), corners=False)
    boxes = labeling.boxes(runs)
    sums = blobs.surface_sums(runs, boxes, bits.pack(~solid), bits.pack(~solid), (1.0, 1.0, 1.0))
    assert not np.isfinite(blobs.fit_balls(sums, boxes, (1.0, 1.0, 1.0))[0, 3])


@settings(max_examples=30)
@given(
    st.tuples(*[st.floats(-3, 25)] * 3),
    st.floats(0.5, 12.0),
    st.tuples(*[st.sampled_from([0.7, 1.0, 3.0])] * 3),
)
def test_drawn_balls_are_all_voxels_within_a_radius_and_no_bone(center, radius, spacing):
    shape = (9, 15, 80)
    hu = np.random.default_rng(0).integers(-1000, 1000, shape).astype(np.int16)
    packed = bits.pack(np.zeros(shape, bool))
    blobs.draw_balls(packed, hu, np.array([[*center, radius]]), spacing, limit=300)
    far = ((world(shape, spacing) - np.array(center)) ** 2).sum(axis=-1)
    got = bits.unpack(packed)
    sure = np.abs(far - radius**2) > 1e-6
    assert np.array_equal(got[sure], ((far <= radius**2) & (hu <= 300))[sure])


@settings(max_examples=30)
@given(st.data())
def test_sets_grow_like_labels(data):
    shape = (5, 9, 70)
    allowed, seed = masks(data.draw, shape, 0.55), masks(data.draw, shape, 0.38)
    labels = np.where(seed, 1 + np.random.default_rng(1).integers(0, 3, shape), 0).astype(np.uint8)
    steps = data.draw(st.integers(0, 4))
    want = coarse.grow_labels(labels, allowed, steps=steps)
    sets = [bits.equal(labels, k) for k in (1, 2, 3)]
    grown = morphology.grow(sets, bits.pack(allowed), steps=steps)
    for k, part in enumerate(grown, 1):
        assert np.array_equal(bits.unpack(part), want == k)
    flat = morphology.grow(sets[:1], bits.pack(allowed), steps=steps, planes=True)[0]
    cross = ndimage.generate_binary_structure(2, 1)[None]
    plain = labels == 1
    slow = ndimage.binary_dilation(plain, cross, iterations=steps, mask=allowed | plain) if steps else plain
    assert np.array_equal(bits.unpack(flat), slow)


@settings(max_examples=30)
@given(st.data())
def test_cells_are_means_of_the_interpolated_volume(data):
    shape = tuple(data.draw(st.integers(1, n)) for n in (9, 24, 70))
    spacing = tuple(data.draw(st.sampled_from([0.6, 1.0, 3.0, 4.4])) for _ in range(3))
    hu = np.random.default_rng(data.draw(st.integers(0, 99))).integers(-1024, 900, shape).astype(np.int16)
    grid = canonical.make_grid(shape, spacing, 3.0)
    got = canonical.average(hu, grid, workers=2)
    want = hu.astype(float)
    for axis in range(3):  # 16 points of each cell, between the voxels before and after them
        points = grid.centers(axis)[:, None] + ((np.arange(16) + 0.5) / 16 - 0.5) * 3.0 / spacing[axis]
        lines = np.moveaxis(want, axis, -1)
        lines = [np.interp(points, np.arange(shape[axis]), line) for line in lines.reshape(-1, shape[axis])]
        lines = np.mean(lines, axis=-1).reshape(*np.moveaxis(want, axis, -1).shape[:2], -1)
        want = np.moveaxis(lines, -1, axis)
    assert np.abs(got - want).max() <= 0.6
    chosen = got > 0
    inside = bits.unpack(canonical.to_voxels(chosen, grid, workers=2))
    assert np.array_equal(inside, chosen[np.ix_(*(grid.cell_of(axis) for axis in range(3)))])


def test_half_cells_are_cut_out_of_the_whole_grid_and_a_smooth_surface_keeps_the_volume():
    hu = np.random.default_rng(3).integers(-1024, 900, (20, 31, 70)).astype(np.int16)
    grid = canonical.make_grid(hu.shape, (2.0, 1.1, 0.9), 3.0)
    halves = canonical.average(hu, grid.halve())
    box = (slice(2, 7), slice(1, 8), slice(5, 16))
    cut = canonical.average(hu, grid.crop(box).halve(), workers=2)
    assert np.array_equal(cut, halves[tuple(slice(2 * s.start, 2 * s.stop) for s in box)])
    whole = halves.reshape(*(n for size in grid.shape for n in (size, 2))).mean(axis=(1, 3, 5))
    assert np.abs(whole - canonical.average(hu, grid))[1:-1, 1:-1, 1:-1].max() < 40  # 8 points of 16 per half

    shape, spacing = (40, 60, 70), (1.3, 0.8, 0.7)
    grid = canonical.make_grid(shape, spacing, 3.0)
    center = np.array([26.0, 24.0, 24.0])
    chosen = ((world(grid.shape, grid.size) + grid.first - center) ** 2).sum(axis=-1) <= 14**2
    ball = ((world(shape, spacing) - center) ** 2).sum(axis=-1) <= 14**2
    smooth, stepped = (bits.unpack(make(chosen, grid)) for make in (canonical.smooth_to_voxels, canonical.to_voxels))
    assert np.count_nonzero(smooth ^ ball) < 0.7 * np.count_nonzero(stepped ^ ball)
    assert np.count_nonzero(smooth) == pytest.approx(np.count_nonzero(ball), rel=0.03)
    assert not canonical.smooth_to_voxels(np.zeros(grid.shape, bool), grid).any()


def test_voxels_beyond_a_cropped_grid_fill_none_of_its_cells():
    grid = canonical.make_grid((30, 30, 30), (1.0, 1.0, 1.0), 3.0).crop((slice(2, 8), slice(2, 8), slice(2, 8)))
    corner = np.argwhere(np.ones((3, 3, 3), bool)).astype(np.int32)
    assert not canonical.filled_shares(corner, grid).any()
    inside = canonical.filled_shares(corner + np.int32(9), grid)
    assert inside.sum() * 27 == pytest.approx(27)


def test_the_same_patient_has_the_same_cells_on_any_grid():
    ct = make_phantom(seed=3, spacing=(2.0, 1.5, 1.5), options=PhantomOptions(noise_hu=0.0)).scan.ct
    cells = []
    for volume in (ct, resample(ct, spacing=1.0)):
        grid = canonical.make_grid(volume.shape, volume.spacing, 3.0)
        cells.append(canonical.average(volume.array, grid).astype(float))
    assert cells[0].shape == cells[1].shape
    assert np.abs(cells[0] - cells[1]).mean() < 4
    assert np.count_nonzero((cells[0] <= -400) != (cells[1] <= -400)) < 2e-3 * cells[0].size


def test_gas_in_a_wall_is_told_from_emphysema():
    places = world((30, 40, 60), (3.0, 3.0, 3.0))
    cells = np.full(places.shape[:3], 40, np.int16)
    near = lambda x: ((places - [45.0, 60.0, x]) ** 2).sum(axis=-1) ** 0.5  # noqa: E731
    cells[near(50.0) <= 36] = -850
    cells[near(50.0) <= 15] = -985
    bowel = near(135.0) <= 15
    cells[bowel] = -990
    walled = bits.unpack(find_walled_gas(cells, cells <= -400))
    assert walled[near(135.0) <= 11].all()
    assert not (walled & ~bowel).any()


@pytest.mark.parametrize(("first", "last", "side"), [(0, 61, "left"), (0, 121, "both"), (62, 121, "right")])
def test_the_middle_is_the_spine_or_where_the_body_is_cut(first, last, side):
    """A body with lungs on both sides and a spine, or a half of it without the spine; mirrored, the other half."""
    z, y, x = np.ogrid[:20, :80, :121]
    body = ((y - 40) / 38) ** 2 + ((x - 60) / 56) ** 2 + 0 * z <= 1
    lungs = (((y - 40) / 22) ** 2 + ((abs(x - 60) - 30) / 18) ** 2 + 0 * z <= 1) & body
    cells = np.where(lungs, -850, np.where(body, 40, -1000)).astype(np.int16)
    cells[:, 58:68, 56:65] = 400
    cut = slice(first, last) if side == "both" else slice(0, 50) if side == "left" else slice(71, 121)
    got = chest.find_middle(cells[..., cut], body[..., cut], lungs[..., cut], (3.0, 3.0, 3.0))
    # x grows to the left of the patient: the half at low x is the right one, and is cut at its last column.
    assert got == {"both": pytest.approx(60, abs=1), "left": 50.0, "right": -1.0}[side]


def test_a_mass_on_the_wall_is_found_on_cells_and_a_ridge_is_not():
    shape, size = (40, 50, 60), (3.0, 3.0, 3.0)
    places = world(shape, size)
    air = places[..., 2] > 30
    center = np.array([60.0, 105.0, 41.0])
    mass = ((places - center) ** 2).sum(axis=-1) <= 14**2
    ridge = (places[..., 1] - 24) ** 2 + (places[..., 2] - 32) ** 2 <= 14**2
    lungs = (air & ~mass & ~ridge).astype(np.uint8)
    grid = canonical.make_grid(shape, size, 3.0)
    hu = np.where(air & ~mass & ~ridge, -850, 40).astype(np.int16)

    def search(*, organs=False, tissue=40):
        seen = np.where(hu > 0, np.int16(tissue), hu)
        no_glass, near = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
        cells = LungCells(grid, seen, lungs, near, no_glass, -400, np.zeros((0, 3), np.int32), np.full(shape, organs))
        return wall_nodules.find_masses(cells)

    masses, (right, left) = search()
    assert len(right) == 1
    assert np.abs(right[0, :3] - center).max() < 2
    assert abs(right[0, 3] - 14) < 2
    assert not len(left)
    assert (masses[mass & air] == 1).mean() > 0.6  # the ball adds the rest
    assert not masses[~mass].any()
    for nothing, (right, _) in (search(organs=True), search(tissue=-90), search(tissue=250)):  # fat; contrast medium
        assert not len(right)
        assert not nothing.any()


def test_a_calcified_nodule_is_drawn_and_bone_around_it_is_not():
    shape, spacing = (24, 24, 24), (1.0, 1.0, 1.0)
    center, radius = np.array([12.0, 12.0, 12.0]), 5.0
    far = np.linalg.norm(world(shape, spacing) - center, axis=-1)
    lung = bits.pack(np.zeros(shape, bool))
    hu = np.full(shape, 800, np.int16)
    hu[:, :12] = 40
    wall_nodules.draw_nodules(lung, hu, np.array([[*center, radius]]), spacing)
    got = bits.unpack(lung)
    rim = max(wall_nodules.RIM_MM, wall_nodules.RIM_VOXELS * 1.0)
    assert np.array_equal(got, far <= np.where(hu > wall_nodules.RIB_MIN_HU, radius + rim / 2, radius + rim))
