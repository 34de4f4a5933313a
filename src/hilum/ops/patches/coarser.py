"""Patches whose voxels are much larger than those of their volume: smoothed as they are read, against aliasing."""

from collections.abc import Callable, Sequence
from functools import partial
from math import ceil, floor
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.resample.spline import interpolate
from hilum.geometry import Vector
from hilum.ops.patches.boxes import Box
from hilum.ops.patches.poses import Pose
from hilum.ops.patches.sampling import Order, Source
from hilum.ops.regrid import axis_taps


def make_coarser(source: Source, pose: Pose, factors: Sequence[float], *, order: Order) -> tuple[Source, Pose]:
    """Show a volume on a coarser grid, computed where it is read, and a patch's pose in it.

    Parameters
    ----------
    source : Source
        The volume.
    pose : Pose
        Of the patch in the volume.
    factors : sequence of float, (z, y, x)
        How much coarser the grid is, from `hilum.ops.regrid.smoothed_steps`; 1 leaves an axis as it is.
    order : {1, 3}
        The kernel of the means is a triangle or a cubic convolution, as in `hilum.resample`.

    Returns
    -------
    source : Source
        It has no array. The voxels of a patch that is not rotated or zoomed are voxels of it along the coarser axes.
    pose : Pose
        Of the same patch.
    """
    first = [p if f > 1 else 0.0 for p, f in zip(pose.first, factors, strict=True)]
    axes = zip(pose.center, first, factors, strict=True)
    center = cast("Vector", tuple(round((c - a) / f, 9) if f > 1 else c for c, a, f in axes))
    matrix = tuple((a / f, b / f, c / f) for (a, b, c), f in zip(pose.matrix, factors, strict=True))
    cut = partial(_cut, source.cut, first, factors, order)
    return Source(None, source.shape, cut), Pose(center, pose.size, matrix)


def _cut(
    cut: Callable[[Box, Box], NDArray[Any]],
    first: Sequence[float],
    factors: Sequence[float],
    order: Order,
    start: Box,
    size: Box,
) -> NDArray[Any]:
    """Read a box of the coarser grid; outside the volume is what `cut` pads it with."""
    low, count, positions = [0, 0, 0], [0, 0, 0], list[NDArray[np.float64]]()
    for axis, (a, n, begin, factor) in enumerate(zip(start, size, first, factors, strict=True)):
        where = begin + factor * np.arange(a, a + n, dtype=np.float64)
        reach = factor * (2 if order == 3 else 1) if factor > 1 else 0.0
        low[axis] = floor(where[0] - reach)
        count[axis] = ceil(where[-1] + reach) + 1 - low[axis]
        positions.append(where - low[axis])
    fine = cut((low[0], low[1], low[2]), (count[0], count[1], count[2]))
    axes = zip(positions, count, factors, strict=True)
    taps = [axis_taps(p, n, f, order=order) if f > 1 else None for p, n, f in axes]
    return interpolate(fine, *taps)
