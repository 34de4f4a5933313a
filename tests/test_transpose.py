"""Blocks of arrays turned over in registers, against numpy's transposition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum._kernels.simd.transpose import BLOCK, transpose


@pytest.mark.parametrize(("source", "target"), [("i2", "f4"), ("f4", "f4"), ("f4", "i2")])
@given(rows=st.integers(1, 3 * BLOCK), columns=st.integers(1, 3 * BLOCK), spare=st.integers(0, 5), seed=st.integers(0))
def test_every_element_comes_to_its_place_and_no_other_is_touched(source, target, rows, columns, spare, seed):
    pitch, other = columns + spare, rows + spare
    src = np.random.default_rng(seed).integers(-32768, 32768, spare + rows * pitch).astype(source)
    dst = np.full(spare + columns * other, 77, target)
    u = np.uint64
    transpose(src, u(spare), u(pitch), dst, u(spare), u(other), u(rows), u(columns))
    want = np.full_like(dst, 77)
    want[spare:].reshape(columns, other)[:, :rows] = src[spare:].reshape(rows, pitch)[:, :columns].T
    np.testing.assert_array_equal(dst, want)
