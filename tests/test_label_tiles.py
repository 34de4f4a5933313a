"""Where labels lie, remembered by tiles: never less than there are, and next to nothing more."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum._kernels.patches.rotate_labels import label_bounds, tile_label_bounds
from hilum.ops.patches.sampling import TILE, LabelTiles, in_words

SHAPE = (70, 130, 90)


def reach(tiles, place, start, size):
    told = np.empty((3, 2), np.int64)
    some = tile_label_bounds(*tiles.known.arrays, SHAPE, TILE, place, start, size, told)
    return told if some else None


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_all_labels_of_a_box_lie_within_the_reach_of_a_tile(data):
    generator = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    labels = np.zeros(SHAPE, np.uint8)
    for _ in range(data.draw(st.integers(0, 4))):
        at = generator.integers(0, SHAPE)
        labels[tuple(slice(a, a + w) for a, w in zip(at, generator.integers(1, 12, 3), strict=True))] = 3
    tiles = LabelTiles(labels.reshape(-1), SHAPE)
    for _ in range(4):
        start = tuple(int(generator.integers(0, n)) for n in SHAPE)
        size = tuple(int(generator.integers(1, n - s + 1)) for s, n in zip(start, SHAPE, strict=True))
        left = np.zeros(SHAPE, np.uint8)
        box = tuple(slice(s, s + n) for s, n in zip(start, size, strict=True))
        left[box] = labels[box]
        for place in np.ndindex(*(-(-n // TILE) for n in SHAPE)):
            found = reach(tiles, place, start, size)
            if found is None:
                continue
            assert all(0 <= a < b <= n for (a, b), n in zip(found, size, strict=True))
            part = tuple(slice(s + a, s + b) for s, (a, b) in zip(start, found, strict=True))
            assert all(p * TILE <= k.start and k.stop <= (p + 1) * TILE for p, k in zip(place, part, strict=True))
            left[part] = 0
        assert not left.any()


def test_tiles_without_labels_are_out_of_reach_and_looked_at_once():
    labels = np.zeros(SHAPE, np.uint8)
    labels[3, 5, 80] = 1
    tiles = LabelTiles(labels.reshape(-1), SHAPE)
    whole = (0, 0, 0), SHAPE
    assert reach(tiles, (0, 0, 0), *whole) is None
    assert reach(tiles, (0, 1, 0), *whole) is None
    z, y, x = reach(tiles, (0, 0, 1), *whole).tolist()
    assert (z, y) == ([3, 4], [5, 6])
    assert x[0] <= 80 < x[1] <= 90
    assert x[1] - x[0] <= 16  # words of eight
    assert reach(tiles, (0, 0, 1), (4, 0, 0), (66, 130, 90)) is None  # a box below it
    labels[3, 5, 80] = 0  # never done, but shows what is remembered
    assert reach(tiles, (0, 0, 1), (0, 0, TILE), (10, 10, 26)) is not None
    told = np.empty((3, 2), np.int64)
    label_bounds(in_words(labels.reshape(-1)), 0, (130 * 90, 90, 1), SHAPE, told)
    assert not told[:, 1].any()
