"""Sample volumes and masks on any grid in the world, by world coordinates."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum._kernels.resample.oblique import sample_oblique
from hilum._kernels.resample.spline import AnyTaps, interpolate, make_taps, nearest
from hilum._kernels.resample.wide_taps import make_wide_taps
from hilum.errors import GeometryError, InputError
from hilum.geometry import Geometry, Vector
from hilum.ops.finite import check_finite
from hilum.ops.reorient import permute
from hilum.volume import AnyVolume, Mask, Volume

AIR_HU = -1000

_COARSER, _COARSER_MM = 2.0, 1.0
"""Voxels of a volume in one of a grid, and the size of that one: beyond both, what is too fine for the grid would alias
(docs/decisions/0015-coarser-grids-are-smoothed.md)."""

_HALF = 0.5 + 1e-6  # a position half way between two voxels rounds up, despite rounding errors of the affine
_PARALLEL = 1e-3  # voxels by which parallel axes may drift apart from one end of the grid to the other


class Turn(NamedTuple):
    """How the axes of a volume are put in order so that they run as those of a grid, as `permute` takes it."""

    order: tuple[int, int, int]
    flips: tuple[bool, bool, bool]


def regrid(
    volume: AnyVolume,
    geometry: Geometry,
    *,
    order: int,
    outside: float | None = None,
    antialias: bool = False,
    workers: int = 0,
) -> AnyVolume:
    """Sample a volume at the voxels of a grid.

    Parameters
    ----------
    volume : Volume or Mask, shape (z, y, x)
        int16, uint8 or float32. A `Mask` always gets the label of the nearest voxel.
    geometry : Geometry
        Any grid in the world.
    order : {3, 1, 0}
        Cubic B-spline, linear, or nearest voxel.
    outside : float, optional
        The value of voxels beyond the volume: by default air for int16, and 0 for uint8 and masks.
    antialias : bool
        Whether to smooth along axes of the volume on which the grid is much coarser, see `axis_taps`.
    workers : int
        Threads; 0 for one per available core. The result does not depend on it.

    Returns
    -------
    Volume or Mask
        On `geometry`. The edge voxels of the volume reach half a voxel outward, as in `hilum.resample`.

    Raises
    ------
    GeometryError
        If the grid and the volume share no voxel.
    InputError
        If a part of the grid lies beyond a float volume, and `outside` does not say what is there.
    """
    if isinstance(volume, Mask):
        order, outside = 0, 0.0
    turn = find_turn(volume.geometry, geometry, drift=_PARALLEL)
    if order:
        check_finite(volume.array)  # one such voxel would spread
    if turn is None:
        if order and antialias:
            volume = _smoothed(volume, geometry, order, workers)
        return replace(volume, array=_oblique(volume, geometry, order, outside, workers), geometry=geometry)
    turned = permute(volume, *turn)
    step = turned.geometry.inverse_affine @ geometry.affine
    positions = [np.round(step[k, k] * np.arange(n) + step[k, 3], 9) for k, n in enumerate(geometry.shape)]
    ranges = [_inside(p, n) for p, n in zip(positions, turned.shape, strict=True)]
    share = prod(part.stop - part.start for part in ranges) / prod(geometry.shape)
    value = _value_outside(volume, share, outside)
    kept = [p[part].clip(-0.5, n - 0.5) for p, part, n in zip(positions, ranges, turned.shape, strict=True)]
    steps = smoothed_steps(np.diag(step)[:3], turned.spacing, antialias=antialias)
    if order == 0 or (max(steps) == 1 and all((p == np.rint(p)).all() for p in kept)):
        rounded = [np.floor(p + 0.5).clip(0, n - 1).astype(np.int64) for p, n in zip(kept, turned.shape, strict=True)]
        array = nearest(turned.array, *rounded, workers=workers)
    else:
        taps = [axis_taps(*axis, order=order) for axis in zip(kept, turned.shape, steps, strict=True)]
        array = interpolate(turned.array, *taps, workers=workers)
    if share < 1:
        part, array = array, np.full(geometry.shape, value, volume.array.dtype)
        array[tuple(ranges)] = part
    return replace(volume, array=array, geometry=geometry)


def smoothed_steps(steps: ArrayLike, spacing: Sequence[float], *, antialias: bool) -> list[float]:
    """Say along which axes a volume is smoothed: those on which a grid is much coarser.

    Parameters
    ----------
    steps : array_like, shape (3,)
        Voxels of the volume in one of the grid, along each axis of the volume.
    spacing : sequence of float, mm
        Of the volume.
    antialias : bool
        Whether to smooth at all.

    Returns
    -------
    list of float
        The steps; 1 for axes that are not smoothed.
    """
    return [
        step if antialias and step > _COARSER and step * size > _COARSER_MM else 1.0
        for step, size in zip(np.asarray(steps, np.float64).tolist(), spacing, strict=True)
    ]


def axis_taps(positions: NDArray[np.float64], size: int, step: float, *, order: int) -> AnyTaps:
    """Tabulate an axis. Where it is smoothed, an output is a mean around it.

    Parameters
    ----------
    positions : ndarray, shape (n,), ascending
        Where to interpolate, in voxels of the volume.
    size : int
        Voxels of the volume.
    step : float
        From `smoothed_steps`.
    order : {3, 1}
        Cubic or linear.
    """
    if step > 1:
        return make_wide_taps(positions, size=size, step=step, order=order)
    return make_taps(positions, size=size, order=order)


def _smoothed(volume: AnyVolume, geometry: Geometry, order: int, workers: int) -> AnyVolume:
    """Make a volume coarser along the axes on which a turned grid is much coarser, so that sampling it aliases not."""
    largest = np.abs(volume.geometry.inverse_affine[:3, :3] @ geometry.affine[:3, :3]).max(axis=1)
    step = smoothed_steps(largest, volume.spacing, antialias=True)
    if max(step) == 1:
        return volume
    shape, spacing, taps, first = list(volume.shape), list(volume.spacing), list[AnyTaps](), [0.0] * 3
    for k, (n, factor) in enumerate(zip(volume.shape, step, strict=True)):
        spacing[k] *= factor
        shape[k] = max(1, round(n / factor))
        first[k] = (n - 1 - (shape[k] - 1) * factor) / 2
        where = np.arange(shape[k], dtype=np.float64) * factor + first[k]
        taps.append(axis_taps(where, n, factor, order=order))
    grid = Geometry(
        cast("tuple[int, int, int]", tuple(shape)), cast("Vector", tuple(spacing)),
        cast("Vector", tuple(volume.geometry.index_to_world(first).tolist())), volume.geometry.direction,
    )  # fmt: skip
    return replace(volume, array=interpolate(volume.array, *taps, workers=workers), geometry=grid)


def find_turn(old: Geometry, new: Geometry, *, drift: float) -> Turn | None:
    """Find how to put the axes of a grid in order so that they are parallel to those of another one.

    Parameters
    ----------
    old, new : Geometry
        The grid to turn, and the other one.
    drift : float, voxels
        How far axes may be from parallel, over the whole length of the new grid.

    Returns
    -------
    Turn or None
        None if the grids are turned against each other.
    """
    step = (old.inverse_affine @ new.affine)[:3, :3]
    order = tuple(int(k) for k in np.abs(step).argmax(axis=0))
    if sorted(order) != [0, 1, 2]:
        return None
    along = step[list(order)]
    if (np.abs(along - np.diag(np.diag(along))) @ new.shape).max() > drift:
        return None
    flips = tuple(bool(along[k, k] < 0) for k in range(3))
    return Turn(cast("tuple[int, int, int]", order), cast("tuple[bool, bool, bool]", flips))


def regrid_mask(mask: Mask, geometry: Geometry) -> Mask:
    """Give each voxel of a grid the label of the nearest voxel of a mask, by world coordinates.

    Parameters
    ----------
    mask : Mask, shape (z, y, x)
        The labels.
    geometry : Geometry
        Any grid; its spacing, origin, shape and direction may differ from the mask's.

    Returns
    -------
    Mask
        On `geometry`; 0 where a voxel lies outside the mask's grid.
    """
    step = mask.geometry.inverse_affine @ geometry.affine  # from an index of the grid to an index of the mask
    return replace(mask, array=_pick_nearest(mask.array, step, np.zeros(geometry.shape, np.uint8)), geometry=geometry)


def share_inside(old: Geometry, new: Geometry) -> float:
    """Estimate the fraction of a grid that lies in another one: 1 only if all of it does, 0 only if hardly any does."""
    index = np.stack(np.meshgrid(*(np.linspace(0, n - 1, min(n, 33)) for n in new.shape), indexing="ij"), axis=-1)
    return float(old.contains(new.index_to_world(index)).mean())


def _oblique(
    volume: Volume, geometry: Geometry, order: int, outside: float | None, workers: int
) -> NDArray[np.generic]:
    """The voxels of a grid that is turned against the volume's."""
    share = share_inside(volume.geometry, geometry)
    value = _value_outside(volume, share or share_inside(geometry, volume.geometry) / 2, outside)
    step = volume.geometry.inverse_affine @ geometry.affine
    out = np.full(geometry.shape, value, volume.array.dtype)
    if order == 0:
        return _pick_nearest(volume.array, step, out)
    sample_oblique(volume.array, step, order=order, out=out, workers=workers)
    return out


def _pick_nearest(array: NDArray[Any], step: NDArray[np.float64], out: NDArray[Any]) -> NDArray[Any]:
    """Fill a grid with the nearest voxels of an array; voxels outside the array keep their value."""
    rows, columns = np.arange(out.shape[1])[:, None], np.arange(out.shape[2])[None, :]
    for z, plane in enumerate(out):
        inside = np.ones(plane.shape, np.bool_)
        indices = []
        for axis, size in enumerate(array.shape):
            first = step[axis, 0] * z + step[axis, 3] + _HALF
            index = np.floor(first + step[axis, 1] * rows + step[axis, 2] * columns).astype(np.int64)
            inside &= (index >= 0) & (index < size)
            indices.append(np.clip(index, 0, size - 1))
        plane[:] = np.where(inside, array[tuple(indices)], plane)
    return out


def _inside(positions: NDArray[np.float64], size: int) -> slice:
    """The ascending positions that lie in a line of voxels."""
    first, stop = np.searchsorted(positions, -_HALF), np.searchsorted(positions, size - 1 + _HALF, side="right")
    return slice(int(first), int(stop))


def _value_outside(volume: Volume, share: float, outside: float | None) -> float:
    """The value of voxels beyond a volume."""
    if share <= 0:
        do = "check that both are of one patient and in one frame of reference"
        raise GeometryError("the grid shares no voxel with the volume: it lies elsewhere", do=do)
    if share == 1 or outside is not None:
        return outside or 0.0
    if volume.array.dtype.kind == "f":
        what = f"{1 - share:.0%} of the grid lies beyond the volume, and the air of float values is unknown"
        raise InputError(what, do="state the value there: outside=...", code="option")
    return AIR_HU if volume.array.dtype == np.int16 else 0.0
