"""What the viewer's page computes from voxels: slabs, circles, profiles, the agreement of masks, outlines."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from test_viewer_slices import STEPS, oriented

import hilum

WEB = Path(__file__).parents[1] / "viewer/web"

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (WEB / "node_modules/esbuild").is_dir(),
    reason="the page's tools are not installed: python3 dev.py page, where node is",
)

TURN = np.deg2rad(20)
SPACING, SHAPE, ORIGIN = (2.5, 0.8, 1.3), (9, 12, 14), (-20.0, 7.5, 100.0)
GRIDS = {
    "straight": ((0, 0, 1), (0, 1, 0), (1, 0, 0)),
    "flipped": ((0, 0, -1), (0, -1, 0), (-1, 0, 0)),
    "permuted": ((1, 0, 0), (0, 0, 1), (0, 1, 0)),
    "oblique": ((0, -np.sin(TURN), np.cos(TURN)), (0, np.cos(TURN), np.sin(TURN)), (1, 0, 0)),
}
WORLD = {"axial": 2, "coronal": 1, "sagittal": 0}  # the world axis through a plane
REDUCED = {"mip": np.max, "mean": np.mean, "minip": np.min}


def through_axis(grid, plane):
    return int(np.abs(np.array(GRIDS[grid])[:, WORLD[plane]]).argmax())


def geometry_of(grid):
    return hilum.Geometry(SHAPE, SPACING, ORIGIN, GRIDS[grid])


def page_volume(array, grid, dtype="int16"):
    step = (np.array(GRIDS[grid]) * np.array(SPACING)[:, None]).tolist()
    return {"type": dtype, "shape": SHAPE, "origin": ORIGIN, "step": step, "values": array.ravel().tolist()}


def ask(cases):
    command = ["node", "test/values.mjs"]
    done = subprocess.run(
        command, input=json.dumps(cases), cwd=WEB, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def ct():
    return np.random.default_rng(5).integers(-1000, 1500, SHAPE).astype(np.int16)


# ---- slabs


@pytest.mark.parametrize("grid", GRIDS)
def test_a_slab_is_the_maximum_mean_or_minimum_of_its_slices(grid, ct):
    cases, wanted = [], []
    for plane in WORLD:
        axis = through_axis(grid, plane)
        for index in (0, 1, SHAPE[axis] // 2, SHAPE[axis] - 1):  # at the edges the slab is thinner
            for mm in (0.5, 2.5, 2.6, 5.2, 10.0, 1000.0):
                for kind, reduce in REDUCED.items():
                    cases.append(
                        {
                            "ask": "slab",
                            "ct": page_volume(ct, grid),
                            "plane": plane,
                            "index": index,
                            "kind": kind,
                            "mm": mm,
                        }
                    )
                    slices = [k for k in range(SHAPE[axis]) if abs(k - index) * SPACING[axis] <= mm / 2 + 1e-9]
                    wanted.append(
                        (axis, slices, reduce(np.take(ct, slices, axis).astype(np.float64), axis=axis, keepdims=True))
                    )
    for answer, (axis, slices, values) in zip(ask(cases), wanted, strict=True):
        assert (answer["through"], answer["range"]) == (axis, [slices[0], slices[-1] + 1])
        assert np.allclose(np.reshape(answer["values"], values.shape), values, rtol=1e-6, atol=1e-4)
    assert {len(slices) for _, slices, _ in wanted} >= {1, 2, 3}


def test_a_slab_of_fractions_keeps_them():
    array = np.random.default_rng(1).random(SHAPE).astype(np.float32)
    case = {"ask": "slab", "ct": page_volume(array, "straight", "float32"), "plane": "axial", "index": 4, "mm": 5}
    for kind, reduce in REDUCED.items():
        (answer,) = ask([case | {"kind": kind}])
        assert np.allclose(np.reshape(answer["values"], SHAPE[1:]), reduce(array[3:6], axis=0), atol=1e-6)


def test_a_negative_slope_turns_maximum_and_minimum_around(ct):
    volume = page_volume(ct, "straight") | {"slope": -2, "intercept": 10}
    case = {"ask": "slab", "ct": volume, "plane": "axial", "index": 4, "mm": 5}
    mip, low = (
        np.reshape(one["values"], SHAPE[1:]) * -2.0 + 10
        for one in ask([case | {"kind": kind} for kind in ("mip", "minip")])
    )
    hu = ct[3:6] * -2.0 + 10
    assert (mip == hu.max(axis=0)).all()
    assert (low == hu.min(axis=0)).all()


# ---- circles


@pytest.mark.parametrize("grid", GRIDS)
def test_a_circle_tells_the_voxels_whose_centers_lie_in_it(grid, ct):
    geometry = geometry_of(grid)
    rng = np.random.default_rng(2)
    cases, circles = [], []
    for plane in WORLD:
        axis = through_axis(grid, plane)
        others = [one for one in range(3) if one != axis]
        for radius in (0.3, 1.0, 4.2, 30.0):
            center = rng.uniform(0, np.array(SHAPE) - 1)
            center[axis] = rng.integers(SHAPE[axis])
            rim = center.copy()
            rim[others[0]] += radius / SPACING[others[0]]
            world = [geometry.index_to_world(tuple(one)).tolist() for one in (center, rim)]
            cases.append(
                {"ask": "circle", "ct": page_volume(ct, grid), "plane": plane, "from": world[0], "to": world[1]}
            )
            circles.append((plane, center, radius, axis, others))
    counts = []
    for answer, (_, center, radius, axis, others) in zip(ask(cases), circles, strict=True):
        voxels = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), -1)
        away = np.linalg.norm((voxels - center) * SPACING, axis=-1)
        inside = np.take(away <= radius, int(center[axis]), axis)
        values = np.take(ct, int(center[axis]), axis)[inside].astype(np.float64)
        counts.append(values.size)
        assert answer["through"] == axis
        if values.size == 0:
            assert answer["found"] is None
            continue
        area = values.size * SPACING[others[0]] * SPACING[others[1]]
        wanted = [values.mean(), values.std(), values.min(), values.max(), area, values.size]
        assert np.allclose([answer["found"][name] for name in ("mean", "sd", "min", "max", "area", "voxels")], wanted)
    assert min(counts) <= 1
    assert max(counts) > 50


def test_a_circle_outside_the_scan_holds_nothing(ct):
    case = {
        "ask": "circle",
        "ct": page_volume(ct, "straight"),
        "plane": "axial",
        "from": [-20, 7.5, 60],
        "to": [-15, 7.5, 60],
    }
    assert ask([case])[0]["found"] is None


# ---- profiles


@pytest.mark.parametrize("grid", GRIDS)
def test_a_profile_is_linear_between_voxels(grid, ct):
    geometry = geometry_of(grid)
    rng = np.random.default_rng(3)
    ends = rng.uniform(0, np.array(SHAPE) - 1, (12, 2, 3))
    ends[0, 1] = ends[0, 0]  # of no length
    cases = [
        {
            "ask": "profile",
            "ct": page_volume(ct, grid),
            **dict(zip(("from", "to"), geometry.index_to_world(pair).tolist(), strict=True)),
        }
        for pair in ends
    ]
    for answer, (start, end) in zip(ask(cases), ends, strict=True):
        mm = np.array(answer["mm"])
        length = np.linalg.norm((end - start) * SPACING)
        assert mm[0] == 0
        assert mm[-1] == pytest.approx(length, abs=1e-6)
        assert np.diff(mm).max() <= min(SPACING) / 2 + 1e-9
        places = start + np.linspace(0, 1, mm.size)[:, None] * (end - start)
        wanted = ndimage.map_coordinates(ct.astype(np.float64), places.T, order=1)
        assert np.allclose(answer["values"], wanted, atol=1e-6)


def test_a_profile_has_a_gap_where_it_leaves_the_scan(ct):
    geometry = geometry_of("straight")
    start, end = (4, 5, -3.0), (4, 5, 16.0)
    world = [geometry.index_to_world(one).tolist() for one in (start, end)]
    (answer,) = ask([{"ask": "profile", "ct": page_volume(ct, "straight"), "from": world[0], "to": world[1]}])
    x = np.linspace(start[2], end[2], len(answer["mm"]))
    inside = (x >= -0.5) & (x <= SHAPE[2] - 0.5)
    assert [value != "nan" for value in answer["values"]] == inside.tolist()
    wanted = ndimage.map_coordinates(
        ct.astype(np.float64), [np.full(x.size, 4), np.full(x.size, 5), x], order=1, mode="nearest"
    )
    assert np.allclose([value for value in answer["values"] if value != "nan"], wanted[inside])


# ---- agreement


def box_of(array):
    """The smallest box around a mask, as the server gives label maps, and where it begins."""
    found = np.argwhere(array)
    start, stop = found.min(0), found.max(0) + 1
    part = array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
    return {"shape": part.shape, "start": start.tolist(), "values": part.ravel().tolist()}


@pytest.mark.parametrize("plane", WORLD)
@pytest.mark.parametrize("grid", GRIDS)
def test_the_agreement_of_masks_is_that_of_score(grid, plane):
    rng = np.random.default_rng(4)
    blob = ndimage.gaussian_filter(rng.normal(size=SHAPE), 1.5)
    first = (blob > 0.02).astype(np.uint8) * 2
    first[:, :, :3] = 0
    second = (blob + ndimage.gaussian_filter(rng.normal(size=SHAPE), 1.5) * 0.5 > 0.03).astype(np.uint8)
    second[-2:] = 0
    geometry = geometry_of(grid)
    case = {"ask": "agreement", "ct": page_volume(np.zeros(SHAPE), grid), "plane": plane,
            "a": box_of(first) | {"labels": [2]}, "b": box_of(second) | {"labels": None}}  # fmt: skip
    (answer,) = ask([case])
    a, b = first == 2, second > 0
    (score,) = hilum.score(*(hilum.Mask(one.astype(np.uint8), geometry) for one in (a, b)), bootstrap=0).cases
    assert round(answer["dice"], 4) == round(score.dice, 4)
    assert 0 < score.dice < 1
    wanted = {"a": a, "b": b, "both": a & b, "onlyA": a & ~b, "onlyB": b & ~a}
    assert answer["ml"] == pytest.approx(
        {name: one.sum() * geometry.voxel_volume / 1000 for name, one in wanted.items()}
    )
    assert answer["ml"]["a"] == pytest.approx(score.prediction_ml)
    whole = np.zeros(SHAPE, np.uint8)
    at = tuple(slice(s, s + n) for s, n in zip(answer["start"], answer["shape"], strict=True))
    whole[at] = np.reshape(answer["values"], answer["shape"])
    assert (whole == (a & b) + 2 * (a & ~b) + 3 * (b & ~a)).all()
    axis = through_axis(grid, plane)
    counts = (a ^ b).sum(tuple(one for one in range(3) if one != axis))
    assert answer["worst"]["voxels"] == counts.max()
    place = np.rint(geometry.world_to_index(answer["worst"]["world"])).astype(int)
    assert place[axis] == counts.argmax()
    assert (a ^ b)[tuple(place)]


def test_equal_empty_and_separate_masks():
    whole = np.zeros(SHAPE, np.uint8)
    whole[2:5, 3:7, 4:9] = 1
    other = np.zeros(SHAPE, np.uint8)
    other[6:8, 3:7, 4:9] = 1
    case = {"ask": "agreement", "ct": page_volume(np.zeros(SHAPE), "straight"), "plane": "axial"}
    mask, far = (box_of(one) | {"labels": [1]} for one in (whole, other))
    same, separate, empty = ask([case | {"a": mask, "b": mask}, case | {"a": mask, "b": far},
                                 case | {"a": mask | {"labels": [5]}, "b": mask | {"labels": [6]}}])  # fmt: skip
    assert (same["dice"], same["worst"]) == (1, None)
    assert separate["dice"] == 0
    assert (empty["dice"], empty["worst"], empty["ml"]["a"]) == ("nan", None, 0)


# ---- outlines


@pytest.mark.parametrize("turn", STEPS)
@pytest.mark.parametrize("plane", WORLD)
def test_an_outline_is_the_inner_pixels_along_the_edges_of_the_mask(turn, plane):
    steps, planes = STEPS[turn]
    labels = (ndimage.gaussian_filter(np.random.default_rng(7).normal(size=SHAPE), 1) * 12).clip(0, 3).astype(np.uint8)
    labels[4, 6, 3:7] = 9  # a value that is not a label of the map: it has no color
    part, start, size = labels[1:, 2:, 3:], (1, 2, 3), 3
    whole = np.zeros(SHAPE, np.uint8)
    whole[1:, 2:, 3:] = part
    ct = {"shape": SHAPE, "origin": [0, 0, 0], "step": steps, "type": "int16", "values": [0] * labels.size}
    index = SHAPE[planes[plane][2]] // 2
    mask = {"shape": part.shape, "values": part.ravel().tolist()}
    case = {"ask": "outline", "ct": ct, "mask": mask, "start": start, "plane": plane, "index": index, "size": size}
    (answer,) = ask([case])
    at = [slice(None)] * 3
    at[planes[plane][2]] = slice(index, index + 1)
    shown = np.kron(oriented(whole[tuple(at)], steps, planes[plane]), np.ones((size, size), np.uint8))
    padded = np.pad(shown, 1)
    neighbors = [padded[1:-1, 2:], padded[1:-1, :-2], padded[2:, 1:-1], padded[:-2, 1:-1]]
    edge = (shown > 0) & (shown != 9) & np.any([one != shown for one in neighbors], axis=0)
    assert edge.any()
    assert (np.reshape(answer["pixels"], shown.shape) == np.where(edge, shown, 0)).all()
