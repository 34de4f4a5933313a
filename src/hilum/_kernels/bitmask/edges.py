"""Edges of sets of voxels, plane by plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hilum._kernels.compile.kernel import kernel

if TYPE_CHECKING:
    from hilum._kernels.bitmask.bits import Bits


@kernel()
def _edges(bits: Any, out: Any, rows: Any, nx: int) -> None:
    nz, ny, nw = bits.shape
    top = np.uint64((nx - 1) & 63)
    here, below = rows[0], rows[1]
    for z in range(nz):
        for y in range(ny):
            under = min(y + 1, ny - 1)
            every = np.uint64(0)
            for j in range(nw):
                every |= bits[z, y, j] | bits[z, under, j]
            if every == np.uint64(0):
                continue
            for j in range(nw):  # each row moved one voxel down the x axis, its last voxel repeated
                here[j] = bits[z, y, j] >> np.uint64(1)
                below[j] = bits[z, under, j] >> np.uint64(1)
                if j < nw - 1:
                    here[j] |= bits[z, y, j + 1] << np.uint64(63)
                    below[j] |= bits[z, under, j + 1] << np.uint64(63)
                else:
                    here[j] |= bits[z, y, j] & (np.uint64(1) << top)
                    below[j] |= bits[z, under, j] & (np.uint64(1) << top)
            for j in range(nw):
                out[z, y, j] = (bits[z, y, j] ^ below[j]) | (here[j] ^ bits[z, under, j])


def roberts_edges(bits: Bits, nx: int) -> Bits:
    """Voxels where the Roberts cross of a plane is not zero: one of the two diagonals of a 2x2 square changes.

    Parameters
    ----------
    bits : ndarray of uint64, shape (z, y, ceil(x / 64))
    nx : int

    Returns
    -------
    ndarray of uint64
    """
    out = np.zeros_like(bits)
    _edges(np.ascontiguousarray(bits), out, np.empty((2, bits.shape[2]), np.uint64), nx)
    return out
