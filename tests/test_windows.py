"""Sliding windows: every voxel is covered, what a model answers is stitched exactly, and has its place in the world."""

from __future__ import annotations

import importlib.util
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import hilum
from hilum.errors import InputError, InputTypeError, UnsupportedError
from hilum.io.annotations.detections import read_detections, read_findings

OBLIQUE = ((0.0, 0.6, 0.8), (0.0, -0.8, 0.6), (-1.0, 0.0, 0.0))

AXIS = st.tuples(st.integers(1, 40), st.integers(1, 24), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.99]))


def noise(shape, *, dtype=np.int16, seed=0, spacing=(2.0, 0.7, 0.8)):
    values = np.random.default_rng(seed).integers(-1024, 1500, shape)
    return hilum.Volume(values.astype(dtype), hilum.Geometry(shape, spacing, (5.0, -3.0, 40.0), OBLIQUE))


def expected_starts(length, size, overlap):
    """The positions of MONAI's ``dense_patch_slices``: every step, the last one moved back; wide ones centered."""
    if length <= size:
        return [-((size - length) // 2)]
    step = max(1, int(size * (1 - overlap) + 1e-9))
    count = next(k for k in range(10**6) if k * step + size >= length) + 1
    return [min(k * step, length - size) for k in range(count)]


def slow_mean(windows, answers, *, sigma):
    """The weighted mean of the answers in double precision, by adding weights and products."""
    shape, size = windows.volume.shape, windows.size
    pad = [max(n, 1) for n in size]
    total, sums = (np.zeros([n + 2 * p for n, p in zip(shape, pad, strict=True)]) for _ in range(2))
    weight = np.ones(size)
    for axis, n in enumerate(size if sigma else ()):
        one = np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (sigma * n)) ** 2)
        weight *= one.reshape([-1 if k == axis else 1 for k in range(3)])
    for start, answer in zip(windows.corners, answers, strict=True):
        box = tuple(slice(a + p, a + p + n) for a, p, n in zip(start, pad, size, strict=True))
        total[box] += weight * answer
        sums[box] += weight
    inside = tuple(slice(p, p + n) for p, n in zip(pad, shape, strict=True))
    assert sums[inside].min() > 0  # every voxel is covered
    return total[inside] / sums[inside]


@settings(max_examples=60, deadline=None)
@given(AXIS, AXIS, AXIS, st.sampled_from(["gaussian", "constant"]), st.integers(0, 99))
def test_an_identity_is_exact_and_any_answer_is_the_weighted_mean(z, y, x, weights, seed):
    shape, size, overlap = zip(z, y, x, strict=True)
    if np.prod([len(expected_starts(*axis)) for axis in (z, y, x)]) > 300:
        return
    volume = noise(shape, seed=seed)
    windows = hilum.windows(volume, size, overlap=overlap)
    assert [list(starts) for starts in windows.starts] == [expected_starts(*axis) for axis in (z, y, x)]
    same = windows.stitch((window.array for window in windows), weights=weights)
    assert same.array.dtype == np.float32
    assert np.array_equal(same.array[0], volume.array)
    answers = [np.random.default_rng(k).normal(size=size) for k in range(len(windows))]
    want = slow_mean(windows, answers, sigma=1 / 8 if weights == "gaussian" else 0)
    got = windows.stitch(iter(answers), weights=weights).volume()
    assert got.geometry == volume.geometry
    assert np.abs(got.array - want).max() < 2e-5
    two = windows.stitch(([answer, window.array] for answer, window in zip(answers, windows, strict=True)))
    assert np.array_equal(two.array[1], volume.array)
    if weights == "gaussian":
        assert np.array_equal(two.volume(0).array, got.array)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_an_identity_is_exact_for_any_values(dtype):
    rng = np.random.default_rng(3)
    values = rng.normal(size=(20, 30, 25)).astype(np.float32).astype(dtype)
    volume = hilum.Volume(values, hilum.Geometry(values.shape, (1.0, 1.0, 1.0)))
    windows = hilum.windows(volume, (8, 9, 7), overlap=0.5)
    assert np.array_equal(windows.stitch(one.array for one in windows).array[0], values.astype(np.float32))


def test_a_window_lies_where_its_voxels_lie_and_shows_them_without_a_copy():
    volume = noise((30, 20, 25))
    windows = hilum.windows(volume, (16, 24, 10), overlap=0.5)
    for window, start in zip(windows, windows.corners, strict=True):
        wide = np.pad(volume.array, 30, constant_values=-1024)
        box = tuple(slice(a + 30, a + 30 + n) for a, n in zip(start, windows.size, strict=True))
        assert np.array_equal(window.array, wide[box])
        for voxel in ((0, 0, 0), (15, 23, 9), (3, 7, 5)):
            here = volume.geometry.index_to_world(np.add(start, voxel))
            assert np.allclose(window.geometry.index_to_world(voxel), here)
    inside = hilum.windows(volume, (16, 20, 10), overlap=0.5)
    assert all(np.shares_memory(window.array, volume.array) for window in inside)
    assert [one.shape for one in inside[1:3]] == [(16, 20, 10)] * 2
    mask = hilum.Mask((volume.array > 0).astype(np.uint8), volume.geometry)
    assert isinstance(hilum.windows(mask, 40)[0], hilum.Mask)
    assert hilum.windows(mask, 40)[0].array.sum() == mask.array.sum()


def test_windows_are_scaled_as_patches_are():
    volume = noise((20, 30, 25))
    windows = hilum.windows(volume, (8, 40, 9), overlap=0.5, window=(-1000, 400), mean=0.25)
    want = hilum.normalize(volume, mean=0.25)
    got = windows.stitch(answer for batch in windows.batches(3) for answer in batch)
    assert np.array_equal(got.array[0], want.array)
    batches = list(windows.batches(4))
    assert [len(batch) for batch in batches] == [4] * (len(windows) // 4) + [len(windows) % 4] * (len(windows) % 4 > 0)
    assert np.array_equal(np.concatenate(batches), np.stack([window.array for window in windows]))
    assert batches[0].min() == np.float32(-0.25)
    assert batches[0].flags.writeable
    raw = next(hilum.windows(volume, 8).batches())
    assert raw.dtype == np.int16
    assert raw.flags.writeable


def test_memory_holds_the_result_and_one_answer():
    volume = noise((64, 128, 128))
    windows = hilum.windows(volume, 32, overlap=0.5, window=(-1000, 400))
    window, result = 4 * 32**3, 4 * volume.array.size
    for _ in range(2):  # the first call loads the kernels
        tracemalloc.start()
        windows.stitch(answer for batch in windows.batches() for answer in batch)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert result < peak < result + 6 * window


def test_channels_become_labels_and_a_probability_a_mask():
    volume = noise((12, 14, 10))
    windows = hilum.windows(volume, 8, overlap=0.5)
    two = windows.stitch(np.stack([window.array < 0, window.array >= 900, window.array >= 0]) for window in windows)
    want = np.where(volume.array < 0, 0, np.where(volume.array >= 900, 1, 2))
    assert np.array_equal(two.mask().array, want)
    assert two.mask().geometry == volume.geometry
    assert all(np.shares_memory(two.volume(k).array, two.array) for k in range(3))
    one = windows.stitch(window.array > 700 for window in windows)
    assert np.array_equal(one.mask().array, volume.array > 700)
    assert not one.mask(threshold=1.0).array.any()


def test_detections_are_the_components_in_the_world():
    volume = noise((40, 60, 50), spacing=(1.5, 1.0, 1.0))
    grid = volume.geometry
    centers, radius = [(10.0, 15.0, 12.0), (28.0, 40.0, 30.0), (20.0, 20.0, 44.0)], [4.0, 6.0, 3.0]
    index = np.indices(grid.shape).reshape(3, -1).T
    answer = np.zeros(grid.shape)
    for center, r, height in zip(centers, radius, (0.9, 0.8, 0.7), strict=True):
        away = np.linalg.norm((index - center) * grid.spacing, axis=1).reshape(grid.shape)
        answer = np.maximum(answer, np.where(away <= r, height - 0.02 * away / r, 0))
    scan = hilum.Scan("1.2.3", volume)
    windows = hilum.windows(scan, (16, 32, 32), overlap=0.5)
    boxes = [tuple(slice(a, a + n) for a, n in zip(c, windows.size, strict=True)) for c in windows.corners]
    found = windows.stitch(answer[box] for box in boxes)
    labels, count = ndimage.label(answer > 0.5, np.ones((3, 3, 3)))
    middles = ndimage.center_of_mass(answer, labels, range(1, count + 1))
    sizes = ndimage.sum_labels(np.ones(grid.shape), labels, range(1, count + 1)) * 1.5
    want = [
        (grid.index_to_world(m), (6 * v / np.pi) ** (1 / 3), labels_max)
        for m, v, labels_max in zip(middles, sizes, ndimage.maximum(answer, labels, range(1, count + 1)), strict=True)
    ]
    got = found.detections(0.5)
    assert len(got) == count == 3
    assert [one.probability for one in got] == sorted((one.probability for one in got), reverse=True)
    for center, diameter, probability in want:
        (one,) = (d for d in got if np.linalg.norm(np.subtract(d.center, center)) < 1e-3)
        assert one.diameter_mm == pytest.approx(diameter, rel=1e-6)
        assert one.probability == pytest.approx(probability, rel=1e-6)
    for center, r in zip(centers, radius, strict=True):
        near = min(got, key=lambda d, c=center: np.linalg.norm(d.center - grid.index_to_world(c)))
        assert np.linalg.norm(near.center - grid.index_to_world(center)) < 0.2
        assert near.diameter_mm == pytest.approx(2 * r, rel=0.06)
    assert len(found.detections(0.75)) == 2
    assert len(found.detections(0.5, least_mm=7.0)) == 2
    assert found.detections(0.95) == []
    with pytest.raises(InputError, match="at least 0"):
        found.detections(-0.1)


def test_detections_are_a_table_that_froc_reads(tmp_path):
    marks = {
        "1.2.3": [
            hilum.Detection((1.23456789, -2.0, 1e3), 6.0, 0.123456789),
            hilum.Detection((4.0, 5.0, 6.0), 3.0, 1.0),
        ],
        "1.2.4": [],
        "1.2.5": [hilum.Detection((0.0, 0.0, 0.0), 12.0, 0.5)],
    }
    hilum.write_detections(tmp_path / "marks.csv", marks)
    assert (tmp_path / "marks.csv").read_text().count("\n") == 4
    table = read_detections(tmp_path / "marks.csv")
    tables, notes = table.tables, table.notes
    assert notes == ()
    assert sorted(tables) == ["1.2.3", "1.2.5"]
    assert np.allclose(tables["1.2.3"], [(1.2346, -2, 1000, 0.123456789), (4, 5, 6, 1)])
    assert read_findings(tmp_path / "marks.csv").tables["1.2.5"][0, 3] == 12
    score = hilum.froc(tables, {"1.2.3": np.array([[1.0, -2, 1000, 8.0]])}, ["1.2.3", "1.2.4", "1.2.5"])
    assert score.found == 1
    unknown = hilum.Detection((1.0, 2.0, 3.0), float("nan"), 0.25)
    hilum.write_detections(tmp_path / "sizes.csv", {"1.2.5": [unknown, *marks["1.2.5"]]})
    assert read_detections(tmp_path / "sizes.csv").marks(["1.2.5"])[0] == marks["1.2.5"][0]
    assert np.isnan(read_detections(tmp_path / "sizes.csv").marks(["1.2.5"])[1].diameter_mm)
    for wrong in ({"a b": marks["1.2.5"]}, {"1.2.3": [hilum.Detection((0.0, float("nan"), 0.0), 1.0, 1.0)]}):
        with pytest.raises(InputError, match="cannot be written"):
            hilum.write_detections(tmp_path / "other.csv", wrong)
    assert not (tmp_path / "other.csv").exists()
    with pytest.raises(hilum.OutputError):
        hilum.write_detections(tmp_path / "none" / "marks.csv", marks)


@pytest.mark.parametrize(
    ("size", "options", "match"),
    [
        (0, {}, "from 1 to 1024"), ((8, 8), {}, "three"), (2.5, {}, "whole number"), (True, {}, "whole number"),
        (float("nan"), {}, "whole number"), (8, {"overlap": 1.0}, "less than 1"), (8, {"overlap": -0.1}, "at least 0"),
        (8, {"overlap": float("nan")}, "overlap"), (8, {"overlap": (0.5, 0.5)}, "overlap"),
        (8, {"overlap": "half"}, "overlap"), (8, {"window": (400, -1000)}, "lower < upper"),
        (8, {"window": (0, 1), "mean": float("inf")}, "finite"),
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(size, options, match):
    with pytest.raises(InputError, match=match) as refused:
        hilum.windows(noise((10, 10, 10)), size, **options)
    assert "\n" not in str(refused.value)


def test_what_has_no_answer_is_refused():
    volume = noise((10, 10, 10))
    with pytest.raises(InputTypeError, match="no scan or volume"):
        hilum.windows(volume.array, 8)
    floats = hilum.Volume(volume.array.astype(np.float32), volume.geometry)
    with pytest.raises(InputError, match="outside="):
        hilum.windows(floats, 12)
    assert hilum.windows(floats, 12, outside=-7.0)[0].array.min() <= -7
    assert hilum.windows(floats, 8)[0].dtype == np.float32
    with pytest.raises(UnsupportedError, match="float32 cannot be scaled"):
        hilum.windows(floats, 8, window=(0, 1))
    windows = hilum.windows(volume, 8)
    answers = [np.zeros((8, 8, 8))] * len(windows)
    for wrong, match in (
        (answers[:-1], "7 answers to 8 windows"), ([*answers, answers[0]], "more answers than the 8"),
        ([np.zeros((8, 8, 7))], "answer 1 is float64"), ([np.zeros((1, 1, 8, 8, 8))], "without a batch axis"),
        ([np.zeros((2, 8, 8, 8)), np.zeros((8, 8, 8))], "answer 2"), ([np.zeros((0, 8, 8, 8))], "answer 1"),
        ([*answers[:-1], np.full((8, 8, 8), np.nan)], "NaN or infinity, at voxel"),
        ([np.full((8, 8, 8), np.inf), *answers[1:]], "NaN or infinity, at voxel"), ([], "0 answers"),
        ([np.full((8, 8, 8), "a")], "answer 1 is <U1"), ([np.zeros((8, 8, 8), complex)], "answer 1 is complex"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=match):
            windows.stitch(iter(wrong))
    with pytest.raises(InputError, match="gaussian or constant"):
        windows.stitch(answers, weights="hann")
    with pytest.raises(InputError, match="at least 1"):
        next(windows.batches(0))
    with pytest.raises(InputError, match="no channel 1"):
        windows.stitch(answers).volume(1)
    with pytest.raises(InputError, match=r"give \(channel, z, y, x\)"):
        hilum.Prediction(np.zeros((10, 10, 10), np.float32), volume.geometry)


@pytest.mark.skipif(importlib.util.find_spec("monai") is None, reason="MONAI is not installed")
@pytest.mark.parametrize("overlap", [0.25, 0.5, 0.6])
def test_a_model_gives_what_monai_gives(overlap):
    import torch
    from monai.inferers import sliding_window_inference

    volume, size = noise((40, 50, 33)), (24, 60, 16)
    ramp = torch.arange(24 * 60 * 16).reshape(size) / 1e4  # a model that depends on the place in the window
    whole = torch.from_numpy(volume.array.astype(np.float32))[None, None]
    for mode in ("constant", "gaussian"):
        theirs = sliding_window_inference(
            whole, size, 2, lambda x: x * ramp, overlap, mode=mode, padding_mode="constant", cval=-1024.0
        )
        windows = hilum.windows(volume, size, overlap=overlap)
        ours = windows.stitch((torch.as_tensor(a) * ramp for b in windows.batches(2) for a in b), weights=mode)
        gap = np.abs(ours.array[0] - theirs[0, 0].numpy())
        assert gap.max() < 0.01 if mode == "constant" else np.median(gap) < 0.5  # theirs has a least weight of 0.001
