"""Where in a volume of labels there are any: found tile by tile as patches come by, and remembered."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from hilum._kernels.cubes import reach_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum.ops.patches import Box

Reach = list[list[int]]
"""First and one past the last voxel by axis, [[z, z], [y, y], [x, x]], between which all labels lie."""

TILE = 64
"""Voxels along a tile's edge. Patches at one nodule share their tiles, so that most of them look at no voxel."""


@dataclass(frozen=True, eq=False)
class LabelTiles:
    """A volume of labels that is asked again and again where it holds any.

    Parameters
    ----------
    flat : ndarray of uint8, shape (z * y * x,)
        C-contiguous; it must not change.
    shape : tuple of int, (z, y, x)
    """

    flat: NDArray[np.uint8]
    shape: Box
    _found: dict[Box, Reach | None] = field(default_factory=dict)

    def reach(self, start: Box, size: Box) -> Reach | None:
        """Where in a box inside the volume labels may be, from the box's first voxel on: never too little.

        Parameters
        ----------
        start, size : tuple of int, (z, y, x)

        Returns
        -------
        list of list of int, or None
            None where there are none.
        """
        ranges = [range(s // TILE, (s + n - 1) // TILE + 1) for s, n in zip(start, size, strict=True)]
        total: Reach | None = None
        for z, y, x in product(*ranges):
            found = self._tile((z, y, x))
            if found is None:
                continue
            near = [
                [min(max(a - s, 0), n), min(max(b - s, 0), n)] for (a, b), s, n in zip(found, start, size, strict=True)
            ]
            if any(a >= b for a, b in near):
                continue
            if total is None:
                total = near
            else:
                total = [[min(a, c), max(b, d)] for (a, b), (c, d) in zip(total, near, strict=True)]
        return total

    def _tile(self, tile: Box) -> Reach | None:
        """Where in the volume the labels of a tile may be."""
        if tile not in self._found:
            corner = [k * TILE for k in tile]
            counts = [min(TILE, n - a) for a, n in zip(corner, self.shape, strict=True)]
            strides = (self.shape[1] * self.shape[2], self.shape[2], 1)
            base = sum(a * step for a, step in zip(corner, strides, strict=True))
            near = reach_in(self.flat, base, strides, (counts[0], counts[1], counts[2]))
            moved = None if near is None else [[a + c, b + c] for (a, b), c in zip(near, corner, strict=True)]
            self._found[tile] = moved
        return self._found[tile]


def reach_in(flat: NDArray[np.uint8], base: int, strides: Box, counts: Box) -> Reach | None:
    """Where in a box of a flat volume labels may be; None where there are none.

    Parameters
    ----------
    flat : ndarray of uint8, shape (n,)
    base : int
        The box's first voxel.
    strides, counts : tuple of int, (z, y, x)

    Returns
    -------
    list of list of int, or None
    """
    reach = np.empty((3, 2), np.int64)
    reach_of(flat[: flat.size // 8 * 8].view(np.uint64), base, strides, counts, reach)
    return reach.tolist() if reach[0, 1] else None
