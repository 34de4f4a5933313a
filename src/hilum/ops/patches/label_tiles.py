"""Where in a volume of labels there are any: found tile by tile as patches come by, and remembered."""

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
"""Voxels along a tile's edge. Patches at one nodule share their tiles, so that most of them look at no voxel."""


@dataclass(frozen=True, eq=False)
class LabelTiles:
    """A volume of labels that is asked again and again where it holds any.

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
        """The voxels in words of eight, and for each tile what was found: first and one past the last voxel by axis.

        Both as `hilum._kernels.patches.rotate_labels.tile_label_bounds` takes them, which fills the second.
        """
        tiles = [-(-n // TILE) for n in self.shape]
        return ArrayTuple(in_words(self.flat), np.full((*tiles, 3, 2), UNKNOWN, np.int64))


def in_words(flat: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Eight voxels each; those that fill no word are left out."""
    return flat[: flat.size // 8 * 8].view(np.uint64)
