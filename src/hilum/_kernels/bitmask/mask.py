"""The bit mask: a set of voxels with 64 voxels of a row in one word, so that a whole chest fits into the cache."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, int, int]
Spacing = tuple[float, float, float]
Box = tuple[slice, slice, slice]

FACE_STEPS = ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1))  # to the six that share a face


@dataclass(frozen=True, eq=False)
class BitMask:
    """A set of voxels; ``&``, ``|`` and ``~`` are intersection, union and complement.

    Parameters
    ----------
    words : ndarray of uint64, shape (z, y, ceil(x / 64))
        Bit ``k`` of word ``j`` is the voxel at ``x = 64 j + k``. Bits past the end of a row are always 0.
    shape : tuple of int, (z, y, x)
        Of the volume.
    """

    words: NDArray[np.uint64]
    shape: Shape

    @classmethod
    def empty(cls, shape: Shape) -> "BitMask":
        """A set without voxels."""
        return cls(np.zeros((*shape[:2], (shape[2] + 63) // 64), np.uint64), shape)

    def __and__(self, other: "BitMask") -> "BitMask":
        return BitMask(self.words & other.words, self.shape)

    def __or__(self, other: "BitMask") -> "BitMask":
        return BitMask(self.words | other.words, self.shape)

    def __invert__(self) -> "BitMask":
        words = ~self.words
        words[..., -1] &= self.tail
        return BitMask(words, self.shape)

    @property
    def tail(self) -> np.uint64:
        """The bits of a row's last word that are voxels."""
        return np.uint64((1 << (self.shape[2] - 64 * (self.words.shape[2] - 1))) - 1)

    def any(self) -> bool:
        """Whether the set has voxels."""
        return bool(self.words.any())

    def crop(self, box: Box) -> "BitMask":
        """Copy a box of planes, rows and words."""
        planes, rows, columns = self.to_voxels(box)
        shape = planes.stop - planes.start, rows.stop - rows.start, columns.stop - columns.start
        return BitMask(np.ascontiguousarray(self.words[box]), shape)

    def to_voxels(self, box: Box) -> Box:
        """The planes, rows and columns of the volume that a box of planes, rows and words covers."""
        return box[0], box[1], slice(64 * box[2].start, min(self.shape[2], 64 * box[2].stop))

    def expand_box(self, box: Box, margin: Shape) -> Box:
        """Enlarge a box on all sides by a margin of planes, rows and words, as far as the mask reaches."""
        z, y, w = (
            slice(max(0, s.start - m), min(n, s.stop + m))
            for s, m, n in zip(box, margin, self.words.shape, strict=True)
        )
        return z, y, w
