"""Boxes in an array."""

import numpy as np
from numpy.typing import NDArray

from hilum.geometry import Box


def bounding_box(inside: NDArray[np.bool_]) -> Box | None:
    """Find the smallest box that contains all marked voxels, (z, y, x); None if no voxel is marked."""
    z, y, x = (np.flatnonzero(inside.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1)))
    if not z.size:
        return None
    return slice(int(z[0]), int(z[-1]) + 1), slice(int(y[0]), int(y[-1]) + 1), slice(int(x[0]), int(x[-1]) + 1)


def expand_box(box: Box, margin: int, shape: tuple[int, int, int]) -> Box:
    """Expand a box, (z, y, x), by a margin on every side, but not beyond the array."""
    z, y, x = (slice(max(0, s.start - margin), min(n, s.stop + margin)) for s, n in zip(box, shape, strict=True))
    return z, y, x
