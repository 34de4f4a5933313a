"""Resample a volume to another voxel size or grid; every structure keeps its position in the patient."""

from collections.abc import Sequence
from dataclasses import replace
from math import ceil, prod
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.resample.spline import interpolate, make_taps, nearest
from hilum.errors import GeometryError, InputError, UnsupportedError
from hilum.geometry import Geometry, Vector
from hilum.ops.finite import check_finite
from hilum.volume import AnyVolume, Mask

Grid = Literal["center", "corner"]

_ORDERS = (0, 1, 3)
_DTYPES = ("int16", "uint8", "float32")

_SLACK = 1e-6  # 512 voxels of 0.78125 mm make 400 of 1 mm, not 401, also if the spacing was rounded to decimal text

_MOST_VOXELS = 2_000_000_000  # the largest grid allowed: 4 GB of int16, a whole body at 0.6 mm

_MANY = 32  # An axis of this many voxels must not become one voxel: one of the spacings is wrong. A small patch may.
_HALF = 0.5 + 1e-6  # a position half way between two voxels rounds up, despite rounding errors of the affine


def resampled_geometry(geometry: Geometry, *, spacing: float | Sequence[float], grid: Grid = "center") -> Geometry:
    """Compute the grid that `resample` gives a volume.

    Parameters
    ----------
    geometry : Geometry
        The grid before resampling.
    spacing : float or sequence of three float, (z, y, x), mm
        The new voxel size; one number stands for all axes.
    grid : {"center", "corner"}
        ``"center"``: exactly this spacing, n' = ceil(n s / s') voxels along an axis, and the same center as before, as
        the Image Biomarker Standardisation Initiative prescribes (reference manual, arXiv:1612.07003,
        "Interpolation"). ``"corner"``: the grid of ``scipy.ndimage.zoom`` for the shape n' = round(n s / s'). The
        first and last voxel centers of both grids coincide, so the new spacing is s (n - 1) / (n' - 1). For an axis of
        one voxel, before or after, the new spacing is s n / n', and the first voxel keeps its position.

    Returns
    -------
    Geometry

    Raises
    ------
    GeometryError
        If the spacing is not positive and finite, gives more than 2e9 voxels (4 GB of int16), or turns an axis of 32
        or more voxels into one voxel.
    InputError
        If there is no such grid.

    Examples
    --------
    >>> scan = Geometry((240, 512, 512), (1.25, 0.75, 0.75))
    >>> resampled_geometry(scan, spacing=1.0).shape
    (300, 384, 384)
    >>> [round(s, 5) for s in resampled_geometry(scan, spacing=1.0, grid="corner").spacing]
    [0.99916, 1.00065, 1.00065]
    """
    if grid not in ("center", "corner"):
        raise InputError(f"grid is {grid!r}, expected center or corner", code="option")
    new_spacing = _spacing(spacing)
    ratios = [n * s / t for n, s, t in zip(geometry.shape, geometry.spacing, new_spacing, strict=True)]
    _check_size(geometry, new_spacing, ratios)
    sizes = [round(ratio) if grid == "corner" else ceil(ratio * (1 - _SLACK)) for ratio in ratios]
    shape = cast("tuple[int, int, int]", tuple(max(1, size) for size in sizes))
    _check_axes(geometry, new_spacing, shape)
    axes = list(zip(geometry.shape, geometry.spacing, shape, new_spacing, strict=True))
    if grid == "corner":
        steps = tuple(s * (n - 1) / (m - 1) if min(n, m) > 1 else s * n / m for n, s, m, _ in axes)
        return Geometry(shape, cast("Vector", steps), geometry.origin, geometry.direction)
    if shape == geometry.shape and new_spacing == geometry.spacing:
        return geometry
    origin = cast("Vector", tuple(geometry.index_to_world([_positions(*axis, grid)[0] for axis in axes]).tolist()))
    return Geometry(shape, new_spacing, origin, geometry.direction)


def resample(
    volume: AnyVolume,
    *,
    spacing: float | Sequence[float] = 1.0,
    order: int = 3,
    grid: Grid = "center",
    workers: int = 0,
) -> AnyVolume:
    """Resample a volume to another voxel size.

    Order 3 is the interpolating cubic B-spline. Beyond the volume's edges the edge voxels are repeated. The result
    agrees with ``scipy.ndimage.zoom`` and ``map_coordinates`` (order 3, mode ``"nearest"``) at the same positions. A
    cubic spline can overshoot next to sharp edges.

    Parameters
    ----------
    volume : Volume or Mask, shape (z, y, x)
        int16 (HU), uint8 or float32. A `Mask` always gets the label of the nearest voxel, whatever the order.
    spacing : float or sequence of three float, (z, y, x), mm
        The new voxel size; one number stands for all axes.
    order : {3, 1, 0}
        Cubic B-spline, linear, or nearest voxel (the upper one of two equally near).
    grid : {"center", "corner"}
        Where the new voxels lie, see `resampled_geometry`.
    workers : int
        Threads; 0 for one per available core. The result is the same, byte for byte, for any number.

    Returns
    -------
    Volume or Mask
        The type and dtype of the input. Integers are rounded half away from zero and clipped to their range. If the
        grid does not change, the array is the input's, not a copy.

    Raises
    ------
    GeometryError
        As for `resampled_geometry`.
    InputError
        If there is no such order or grid, or a float volume contains NaN or infinity.
    UnsupportedError
        If the voxels have another type.

    Notes
    -----
    Unser, "Splines: a perfect fit for signal and image processing", IEEE Signal Processing Magazine 16(6):22-38, 1999.

    Examples
    --------
    >>> from hilum import Volume
    >>> scan = Volume(np.full((2, 4, 4), -1000, np.int16), Geometry((2, 4, 4), (2.0, 0.5, 0.5)))
    >>> resample(scan, spacing=1.0).shape
    (4, 2, 2)
    """
    if isinstance(order, bool) or order not in _ORDERS:
        raise InputError(f"order is {order!r}, expected 3 (cubic), 1 (linear) or 0 (nearest)", code="option")
    old, new = volume.geometry, resampled_geometry(volume.geometry, spacing=spacing, grid=grid)
    array = volume.array.astype(volume.array.dtype.newbyteorder("="), copy=False)
    if array.dtype.name not in _DTYPES:
        what = f"a volume of {array.dtype} cannot be resampled, only {', '.join(_DTYPES)}"
        raise UnsupportedError(what, do="convert the voxels first")
    positions = [_positions(*axis, grid) for axis in zip(old.shape, old.spacing, new.shape, new.spacing, strict=True)]
    if all(np.array_equal(p, np.arange(n)) for p, n in zip(positions, old.shape, strict=True)):
        return replace(volume, array=array, geometry=new)
    if isinstance(volume, Mask) or order == 0:
        rounded = [np.floor(p + 0.5).clip(0, n - 1).astype(np.int64) for p, n in zip(positions, old.shape, strict=True)]
        return replace(volume, array=nearest(array, *rounded, workers=workers), geometry=new)
    check_finite(array)  # one such voxel would spread along its lines
    taps = [make_taps(p, size=n, order=order) for p, n in zip(positions, old.shape, strict=True)]
    return replace(volume, array=interpolate(array, *taps, workers=workers), geometry=new)


def regrid_mask(mask: Mask, geometry: Geometry) -> Mask:
    """Give each voxel of a grid the label of the nearest voxel of a mask, by world coordinates.

    Parameters
    ----------
    mask : Mask, shape (z, y, x)
    geometry : Geometry
        Any grid; its spacing, origin, shape and direction may differ from the mask's.

    Returns
    -------
    Mask
        On `geometry`; 0 where a voxel lies outside the mask's grid.
    """
    step = mask.geometry.inverse_affine @ geometry.affine  # from an index of the grid to an index of the mask
    rows, columns = np.arange(geometry.shape[1])[:, None], np.arange(geometry.shape[2])[None, :]
    out = np.zeros(geometry.shape, np.uint8)
    for z, plane in enumerate(out):
        inside = np.ones(plane.shape, np.bool_)
        indices = []
        for axis, size in enumerate(mask.shape):
            first = step[axis, 0] * z + step[axis, 3] + _HALF
            index = np.floor(first + step[axis, 1] * rows + step[axis, 2] * columns).astype(np.int64)
            inside &= (index >= 0) & (index < size)
            indices.append(np.clip(index, 0, size - 1))
        plane[:] = np.where(inside, mask.array[tuple(indices)], 0)
    return Mask(out, geometry, mask.names)


def _check_size(geometry: Geometry, new_spacing: Sequence[float], ratios: Sequence[float]) -> None:
    """Refuse a grid with too many voxels."""
    voxels = prod(max(1.0, ratio) for ratio in ratios)
    if voxels <= _MOST_VOXELS:
        return
    old, new = " x ".join(f"{s:.4g}" for s in geometry.spacing), " x ".join(f"{t:.4g}" for t in new_spacing)
    sizes = " x ".join(f"{max(1.0, ratio):.4g}" for ratio in ratios)
    what = f"spacing {new} mm gives {sizes} voxels, {voxels * 2 / 1e9:.3g} GB, from voxels of {old} mm"
    what = f"{what}; the limit is 2e9 voxels"
    raise GeometryError(what, do="check the spacing of the scan, or choose a larger spacing")


def _check_axes(geometry: Geometry, new_spacing: Sequence[float], shape: tuple[int, ...]) -> None:
    """Refuse an axis of many voxels that would become one."""
    for axis, n, s, m, t in zip("zyx", geometry.shape, geometry.spacing, shape, new_spacing, strict=True):
        if m == 1 and n >= _MANY:
            what = f"{n} voxels of {s:.4g} mm along {axis} ({n * s:.4g} mm) would become one voxel of {t:.4g} mm"
            raise GeometryError(what, do="check the spacing of the scan, or choose a smaller spacing")


def _positions(n: int, s: float, m: int, t: float, grid: Grid) -> NDArray[np.float64]:
    """Centers of `m` new voxels of size `t`, as indices of the `n` old voxels of size `s`."""
    steps = np.arange(m, dtype=np.float64)
    if grid == "corner":
        return steps * ((n - 1) / (m - 1) if m > 1 else 1.0)  # the same product as in scipy, to the last bit
    # Rounding removes the noise of positions on a voxel center, or half way between two.
    return cast("NDArray[np.float64]", np.round((n - 1) / 2 + (steps - (m - 1) / 2) * (t / s), 9))


def _spacing(spacing: float | Sequence[float]) -> Vector:
    try:
        new_spacing = np.broadcast_to(np.asarray(spacing, dtype=np.float64), 3).tolist()
    except (TypeError, ValueError) as error:
        raise GeometryError(f"spacing is {spacing!r}, expected one number or three (z, y, x), in mm") from error
    if not all(0 < s < np.inf for s in new_spacing):
        raise GeometryError(f"spacing is {spacing!r} mm, expected positive numbers")
    return cast("Vector", tuple(new_spacing))
