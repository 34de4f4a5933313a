"""Where in a volume of labels there are any: found tile by tile as patches come by, and remembered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from hilum._kernels.cubes import UNKNOWN, reach_of, reach_of_tiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum.ops.patches import Box

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

    @cached_property
    def _known(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """The voxels in words of eight, and by tile what was found: first and one past the last voxel by axis."""
        tiles = [-(-n // TILE) for n in self.shape]
        return _words(self.flat), np.full((*tiles, 3, 2), UNKNOWN, np.int64)

    def reach(self, start: Box, size: Box) -> NDArray[np.int64]:
        """Where in a box inside the volume labels may be, from the box's first voxel on: never too little.

        Parameters
        ----------
        start, size : tuple of int, (z, y, x)

        Returns
        -------
        ndarray of int64, shape (3, 2)
            First and one past the last voxel by axis, between which all labels lie; ends of 0 where there are none.
        """
        words, table = self._known
        found, reach = np.empty((3, 2), np.int64), np.empty((3, 2), np.int64)
        reach_of_tiles(words, table, self.shape, TILE, start, size, found, reach)
        return reach


def reach_in(flat: NDArray[np.uint8], base: int, strides: Box, counts: Box) -> NDArray[np.int64]:
    """Where in a box of a flat volume labels may be.

    Parameters
    ----------
    flat : ndarray of uint8, shape (n,)
    base : int
        The box's first voxel.
    strides, counts : tuple of int, (z, y, x)

    Returns
    -------
    ndarray of int64, shape (3, 2)
        As of `LabelTiles.reach`.
    """
    reach = np.empty((3, 2), np.int64)
    reach_of(_words(flat), base, strides, counts, reach)
    return reach


def _words(flat: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Eight voxels each; those that fill no word are left out."""
    return flat[: flat.size // 8 * 8].view(np.uint64)
