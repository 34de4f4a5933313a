"""The extent of the labels in each tile of a volume, computed when a patch needs it, and remembered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from hilum._kernels.compile.kernel import ArrayTuple
from hilum._kernels.patches.rotate_labels import UNKNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum.ops.patches.boxes import Box

TILE = 64
"""Voxels along a tile's edge. Patches at one nodule use the same tiles, so most patches read no voxel for this."""


@dataclass(frozen=True, eq=False)
class LabelTiles:
    """A volume of labels that many patches are cut from.

    Parameters
    ----------
    flat : ndarray of uint8, shape (z * y * x,)
        C-contiguous and read-only.
    shape : tuple of int, (z, y, x)
    """

    flat: NDArray[np.uint8]
    shape: Box

    @cached_property
    def known(self) -> ArrayTuple:
        """The voxels in words of eight; for each tile the first labeled voxel, and one past the last, along each axis.

        `hilum._kernels.patches.rotate_labels.tile_label_bounds` fills in the extents of the tiles.
        """
        tiles = [-(-n // TILE) for n in self.shape]
        return ArrayTuple(in_words(self.flat), np.full((*tiles, 3, 2), UNKNOWN, np.int64))


def in_words(flat: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """View voxels as words of eight, without the voxels that do not fill the last word."""
    return flat[: flat.size // 8 * 8].view(np.uint64)
