"""Counts and boxes of labels, against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.ops.labels.shares import measure_labels


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
