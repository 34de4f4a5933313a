"""The lungs' pieces held against slow and obvious ones: blobs and their balls, rays, growth, dense lung."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from hilum._kernels.anatomy import coarse, rays
from hilum._kernels.bitmask import bits, morphology
from hilum._kernels.components import blobs, labeling
from hilum.ops.lungs import dense, thick_slices, wall_nodules

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
    return lung, air, tuple(draw(st.sampled_from([0.7, 1.0, 2.5])) for _ in range(3)), draw(st.booleans())


@settings(max_examples=40)
@given(scenes())
def test_surfaces_add_up_face_by_face(scene):
    lung, air, spacing, flat = scene
    shape = lung.shape
    runs = labeling.find_components(bits.pack(lung & ~air), corners=False)
    boxes = labeling.boxes(runs)
    got = blobs.surface_sums(runs, boxes, bits.pack(air), bits.pack(lung), spacing, flat=flat)
    named, count = ndimage.label(lung & ~air)
    assert count == runs.number
    for index in range(count):
        want, places = np.zeros(15), np.argwhere(named == index + 1)
        for place in places:
            for move in FACE_MOVES[2:] if flat else FACE_MOVES:
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
    sums = blobs.surface_sums(runs, boxes, bits.pack(air), bits.pack(air | (ball & ~wall)), spacing, flat=False)
    (found,) = blobs.fit_balls(sums, boxes, spacing, flat=False)
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
    sums = blobs.surface_sums(runs, boxes, bits.pack(~solid), bits.pack(~solid), (1.0, 1.0, 1.0), flat=False)
    assert not np.isfinite(blobs.fit_balls(sums, boxes, (1.0, 1.0, 1.0), flat=False)[0, 3])


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
def test_rays_stop_at_the_first_bone(data):
    shape = (3, 24, 30)
    solid = ~masks(data.draw, shape, 0.35)
    bone = masks(data.draw, shape, 0.4)
    labels = np.where(masks(data.draw, shape, 0.42), 1, 0).astype(np.uint8)
    centers = np.array([[12.0, 14.5], [-1.0, -1.0], [5.0, 20.0]])
    allowed = np.random.default_rng(2).random((3, rays.RAYS)) < 0.5
    size, gap = (1.5, 2.0), data.draw(st.sampled_from([0.0, 2.0, 5.0]))
    got = rays.between_lung_and_ribs(labels, 1, solid, bone, centers, allowed, size, gap=gap, workers=2)
    want, step = np.zeros(shape, bool), 0.7 * 1.5
    for z, ray in np.argwhere(allowed & (centers[:, :1] >= 0)):
        path = []
        for n in range(200):
            move = rays.directions()[ray] * step / np.array(size)
            place = centers[z] + n * move
            cell = tuple((place + 0.5).astype(int))
            if (place < -0.5).any() or not (0 <= cell[0] < 24 and 0 <= cell[1] < 30):
                break
            path.append((z, *cell))
        kinds = [("lung" if labels[p] else "hole" if not solid[p] else "bone" if bone[p] else "solid") for p in path]
        lungs = [n for n, kind in enumerate(kinds) if kind == "lung"]
        # The ray ends at the first bone or hole behind lung.
        ends = [n for n, kind in enumerate(kinds) if kind in ("bone", "hole") and lungs and n > lungs[0]]
        if ends and kinds[ends[0]] == "bone":
            last = max(n for n in lungs if n < ends[0])
            for n in range(last + 1, ends[0] - int(np.ceil(gap / step))):
                want[path[n]] = True
    assert np.array_equal(got, want)


def chest(dense_hu):
    """Cells of 3 mm: two round lungs within rings of ribs, the back of the right one as bright as `dense_hu`."""
    z, y, x = np.ogrid[:60, :90, :120]
    cells = np.full((60, 90, 120), -1000, np.int16)
    cells[((y - 45) / 42) ** 2 + ((x - 60) / 57) ** 2 + 0 * z <= 1] = 40
    lung = np.zeros(cells.shape, np.uint8)
    for label, side in ((1, 36), (2, 84)):
        lung[(((y - 45) / 26) ** 2 + ((x - side) / 20) ** 2 + 0 * z <= 1) & (z > 5) & (z < 55)] = label
    around = [ndimage.binary_dilation((lung > 0).any(axis=0), iterations=n) for n in (2, 4)]
    cells[(around[1] & ~around[0]) & (z % 9 < 3)] = 500
    cells[lung > 0] = -850
    sick = (lung == 1) & (y > 53) & (z > 10) & (z < 40)
    cells[sick] = dense_hu
    return cells, np.where(cells <= -400, lung, 0).astype(np.uint8), sick


def dense_share(hu):
    cells, labels, sick = chest(hu)
    found = dense.find_dense(cells, labels, cells > -400, (3.0, 3.0, 3.0), 60.0)
    assert not (found == 2).any()
    assert not found[labels > 0].any()
    return (found[sick] == 1).mean(), np.count_nonzero((found > 0) & ~sick) / np.count_nonzero(sick)


def test_consolidation_before_the_ribs_is_found_and_fluid_is_not():
    inside, outside = dense_share(45)
    assert inside > 0.8
    assert outside < 0.1
    assert dense_share(5)[0] < 0.05
    assert dense_share(-850)[0] == 0


def test_ground_glass_that_is_connected_with_the_lung_is_dense_lung():
    inside, outside = dense_share(-280)
    assert inside > 0.9
    assert outside < 0.01


def test_no_lungs_no_dense_lung():
    cells, labels, _ = chest(45)
    assert not dense.find_dense(cells, np.zeros_like(labels), cells > -400, (3.0,) * 3, 60.0).any()


def test_a_mass_on_the_wall_is_found_on_cells_and_a_ridge_is_not():
    shape, size = (40, 50, 60), (3.0, 3.0, 3.0)
    places = world(shape, size)
    air = places[..., 2] > 30
    center = np.array([60.0, 105.0, 41.0])
    mass = ((places - center) ** 2).sum(axis=-1) <= 14**2
    ridge = (places[..., 1] - 24) ** 2 + (places[..., 2] - 32) ** 2 <= 14**2
    lungs = (air & ~mass & ~ridge).astype(np.uint8)
    masses, (right, left) = wall_nodules.find_masses(lungs, np.zeros_like(lungs), size, (0.0, 0.0, 0.0))
    assert len(right) == 1
    assert np.abs(right[0, :3] - center).max() < 2
    assert abs(right[0, 3] - 14) < 2
    assert not len(left)
    assert (masses[mass & air] == 1).mean() > 0.6  # the ball adds the rest
    assert not masses[~mass].any()
    nothing, (right, _) = wall_nodules.find_masses(lungs, np.ones_like(lungs), size, (0.0, 0.0, 0.0))
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
    assert np.array_equal(got, far <= np.where(hu > wall_nodules.BONE_MIN_HU, radius + rim / 2, radius + rim))


@pytest.mark.parametrize("x", [35.0, 2.0, 69.0])
def test_a_disk_is_followed_into_a_slice_that_it_fills_in_half_and_not_into_lung(x):
    shape, spacing = (5, 60, 70), (5.0, 1.0, 1.0)
    lung = bits.pack(np.ones(shape, bool))
    hu = np.full(shape, -870, np.int16)
    disk = np.array([10.0, 30.0, x, 6.0])
    inside = np.linalg.norm(world(shape[1:], spacing[1:]) - disk[1:3], axis=-1) <= disk[3]
    hu[2][inside], hu[3][inside] = 40, -400
    found = thick_slices._in_next_slices(disk[None], lung, hu, spacing)
    assert found.tolist() == [[15.0, *disk[1:]]]
    assert not len(thick_slices._in_next_slices(disk[None], bits.pack(np.zeros(shape, bool)), hu, spacing))
    hu[3][inside] = -700
    assert not len(thick_slices._in_next_slices(disk[None], lung, hu, spacing))
