"""The Roberts edges of a bit mask, plane by plane."""

from typing import Any

import numpy as np

from hilum._kernels.bitmask.mask import BitMask
from hilum._kernels.compile.kernel import kernel


@kernel()
def _edges(words: Any, out: Any, rows: Any, nx: int) -> None:
    nz, ny, nw = words.shape
    top = np.uint64((nx - 1) & 63)
    here, below = rows[0], rows[1]
    for z in range(nz):
        for y in range(ny):
            under = min(y + 1, ny - 1)
            every = np.uint64(0)
            for j in range(nw):
                every |= words[z, y, j] | words[z, under, j]
            if every == np.uint64(0):
                continue
            for j in range(nw):  # each row shifted by one voxel toward x = 0; its last voxel repeats
                here[j] = words[z, y, j] >> np.uint64(1)
                below[j] = words[z, under, j] >> np.uint64(1)
                if j < nw - 1:
                    here[j] |= words[z, y, j + 1] << np.uint64(63)
                    below[j] |= words[z, under, j + 1] << np.uint64(63)
                else:
                    here[j] |= words[z, y, j] & (np.uint64(1) << top)
                    below[j] |= words[z, under, j] & (np.uint64(1) << top)
            for j in range(nw):
                out[z, y, j] = (words[z, y, j] ^ below[j]) | (here[j] ^ words[z, under, j])


def roberts_edges(mask: BitMask) -> BitMask:
    """The voxels where the Roberts cross of a plane is not zero: one of the two diagonals of a 2x2 square changes."""
    out = BitMask.empty(mask.shape)
    shifted = np.empty((2, mask.words.shape[2]), np.uint64)
    _edges(np.ascontiguousarray(mask.words), out.words, shifted, mask.shape[2])
    return out
