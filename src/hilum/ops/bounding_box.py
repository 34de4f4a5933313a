"""The box of the marked voxels of an array."""

import numpy as np
from numpy.typing import NDArray


def bounding_box(inside: NDArray[np.bool_]) -> tuple[slice, slice, slice] | None:
    """Find the smallest box that contains all marked voxels, (z, y, x); None if no voxel is marked."""
    z, y, x = (np.flatnonzero(inside.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1)))
    if not z.size:
        return None
    return slice(int(z[0]), int(z[-1]) + 1), slice(int(y[0]), int(y[-1]) + 1), slice(int(x[0]), int(x[-1]) + 1)
