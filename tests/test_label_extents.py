"""Counts and boxes of labels, against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from hilum._kernels.resample.label_shares import count_shares, list_parts, rank_parts, sum_parts, take_parts
from hilum.geometry import Geometry
from hilum.ops.labels.shares import WHOLE, label_extents, measure_labels
from hilum.volume import Mask


def by_numpy(array):
    found = {}
    for value in np.unique(array[array > 0]).tolist():
        index = np.argwhere(array == value)
        box = tuple(
            slice(a, b + 1) for a, b in zip(index.min(axis=0).tolist(), index.max(axis=0).tolist(), strict=True)
        )
        found[value] = (len(index), box)
    return found


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 7), (4, 5, 8), (2, 3, 9), (5, 4, 24), (3, 3, 31), (7, 1, 64)])
@pytest.mark.parametrize("kind", ["noise", "sparse", "runs", "full", "empty"])
@pytest.mark.parametrize("workers", [1, 2])
def test_labels_are_counted_and_bounded(shape, kind, workers):
    rng = np.random.default_rng(sum(shape))
    array = {
        "noise": lambda: rng.integers(0, 256, shape),
        "sparse": lambda: (rng.random(shape) > 0.95) * 255,
        "runs": lambda: np.repeat(rng.integers(0, 3, (*shape[:2], shape[2] // 5 + 1)), 5, axis=2)[..., : shape[2]],
        "full": lambda: np.full(shape, 7),
        "empty": lambda: np.zeros(shape),
    }[kind]().astype(np.uint8)
    assert measure_labels(array, workers=workers) == by_numpy(array)
    turned = array.transpose(2, 0, 1)[:, ::-1]
    assert measure_labels(turned, workers=workers) == by_numpy(turned)
    shifted = np.zeros(array.size + 3, np.uint8)[3:].reshape(shape)  # not at a multiple of eight bytes
    shifted[:] = array
    assert measure_labels(shifted, workers=workers) == by_numpy(array)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 7), (4, 5, 8), (2, 3, 9), (5, 4, 24)])
def test_shares_are_counted_and_parts_listed(shape):
    rng = np.random.default_rng(sum(shape))
    for kind in (
        rng.integers(0, 241, shape),
        rng.integers(0, 2, shape) * WHOLE,
        np.full(shape, WHOLE),
        np.zeros(shape),
    ):
        shares = np.ascontiguousarray(kind, np.uint8)
        counts, partial = [np.zeros(n, np.int64) for n in shape], np.zeros(shape[0], np.int64)
        count_shares(shares, WHOLE, *counts, partial)
        for axis, count in enumerate(counts):
            others = tuple(k for k in range(3) if k != axis)
            assert count.tolist() == (shares == WHOLE).sum(axis=others).tolist()
        some = (shares > 0) & (shares < WHOLE)
        assert partial.tolist() == some.sum(axis=(1, 2)).tolist()
        parts, flat = np.empty(int(some.sum()), np.int64), shares.reshape(-1)
        list_parts(flat, flat[: flat.size // 8 * 8].view(np.uint64), WHOLE, parts)
        assert parts.tolist() == np.flatnonzero(some).tolist()


def test_a_mask_is_measured_once():
    array = np.zeros((4, 5, 6), np.uint8)
    array[1:3, 2, 3:] = 7
    mask = Mask(array, Geometry(array.shape, (1.0, 1.0, 1.0)))
    assert label_extents(mask) == measure_labels(array)
    assert label_extents(mask) is label_extents(mask)
    other = Mask(np.zeros_like(array), mask.geometry)
    assert label_extents(other) == {}


@pytest.mark.parametrize("shape", [(1, 1, 5), (3, 4, 7), (6, 5, 40)])
@pytest.mark.parametrize("density", [0.02, 0.5, 1.0])
def test_parts_are_summed_ranked_and_taken(shape, density):
    rng = np.random.default_rng(sum(shape))
    flat = np.where(rng.random(shape) < density, rng.integers(1, WHOLE, shape), 0).astype(np.uint8).reshape(-1)
    parts = np.flatnonzero(flat)
    index, share = np.array(np.unravel_index(parts, shape)), flat[parts].astype(int)
    sums = np.zeros(4, np.int64)
    sum_parts(flat, parts, *shape[1:], sums)
    assert sums.tolist() == [share.sum(), *(share * index).sum(axis=1)]

    middle, curve, slope = (np.array(shape) - 1) / 2, np.array([-3.0, 2.0, 0.5]), np.array([700.0, -90.0, 11.0])
    keys, counts = np.empty(len(parts), np.uint16), np.zeros(65536, np.int64)
    rank_parts(flat, parts, *shape[1:], middle, curve, slope, 50.0, keys, counts)
    away = index - middle[:, None]
    worth = 50.0 * share + (curve @ away**2) + slope @ away
    np.testing.assert_allclose(keys, 32768 - worth, atol=0.51)
    assert (counts == np.bincount(keys, minlength=65536)).all()

    for wanted in {min(1, len(parts)), len(parts) // 2, len(parts)} - {0}:
        best = np.sort(np.argsort(keys, kind="stable")[:wanted])
        last = np.sort(keys)[wanted - 1]
        left = wanted - np.count_nonzero(keys < last)
        chosen, sums = np.empty(wanted, np.int64), np.zeros(3, np.int64)
        take_parts(parts, keys, int(last), int(left), *shape[1:], chosen, sums)
        assert chosen.tolist() == parts[best].tolist()
        assert sums.tolist() == index[:, best].sum(axis=1).tolist()


def test_the_worth_of_a_part_is_clipped_not_wrapped():
    flat, parts = np.array([200, 1, 100], np.uint8), np.arange(3)
    keys, counts = np.empty(3, np.uint16), np.zeros(65536, np.int64)
    rank_parts(flat, parts, 1, 3, np.array([0.0, 0.0, 1.0]), np.zeros(3), np.array([0.0, 0.0, 1e9]), 50.0, keys, counts)
    assert keys.tolist() == [65535, 32768 - 50, 0]
