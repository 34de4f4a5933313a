"""Bring a volume to another voxel size, every structure staying where it is in the patient."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Literal, TypeVar, cast

import numpy as np

from hilum._kernels.resample.spline import interpolate, make_taps, nearest
from hilum.errors import GeometryError, InputError, UnsupportedError
from hilum.geometry import Geometry
from hilum.ops.finite import check_finite
from hilum.volume import Mask, Volume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Grid = Literal["center", "corner"]
AnyVolume = TypeVar("AnyVolume", bound=Volume)

_ORDERS = (0, 1, 3)
_DTYPES = ("int16", "uint8", "float32")

_SLACK = 1e-6
"""512 voxels of 0.78125 mm make 400 of 1 mm, not 401, even where the spacing comes from decimal text."""

_MOST_VOXELS = 2_000_000_000
"""The largest grid made: 4 GB of int16, a whole body at 0.6 mm."""

_MANY = 32
"""So many voxels do not end as one: their spacing is wrong, or the one asked for is. Fewer may be a small patch."""


def resampled_geometry(geometry: Geometry, *, spacing: float | Sequence[float], grid: Grid = "center") -> Geometry:
    """The grid on which `resample` puts a volume.

    Parameters
    ----------
    geometry : Geometry
        The grid as it is.
    spacing : float or sequence of three float, (z, y, x), mm
        The voxel size wanted; one number stands for all axes.
    grid : {"center", "corner"}
        ``"center"``: exactly this spacing, n' = ceil(n s / s') voxels an axis, and the center of the new grid in the
        center of the old one, as the Image Biomarker Standardisation Initiative prescribes (reference manual,
        arXiv:1612.07003, "Interpolation"). ``"corner"``: what ``scipy.ndimage.zoom`` does after rounding the shape to
        n' = round(n s / s'): the first and last voxel centers of both grids coincide, so that the true spacing is
        s (n - 1) / (n' - 1), and this is the spacing stated. (An axis of one voxel, before or after, has no such
        spacing: s n / n' is stated, and the first voxel stays in place.)

    Returns
    -------
    Geometry

    Raises
    ------
    GeometryError
        If the spacing is not positive and finite, gives more than 2e9 voxels (4 GB of int16), or makes one voxel of
        32 or more along an axis.
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
    wanted = _spacing(spacing)
    ratios = [n * s / t for n, s, t in zip(geometry.shape, geometry.spacing, wanted, strict=True)]
    _check_size(geometry, wanted, ratios)
    if grid == "corner":
        shape = _checked(geometry, wanted, tuple(max(1, round(ratio)) for ratio in ratios))
        steps = tuple(
            s * (n - 1) / (m - 1) if min(n, m) > 1 else s * n / m
            for n, s, m in zip(geometry.shape, geometry.spacing, shape, strict=True)
        )
        return Geometry(cast("tuple[int, int, int]", shape), _three(steps), geometry.origin, geometry.direction)
    shape = _checked(geometry, wanted, tuple(max(1, int(np.ceil(ratio * (1 - _SLACK)))) for ratio in ratios))
    if shape == geometry.shape and wanted == geometry.spacing:
        return geometry
    first = [_positions(*axis, grid)[0] for axis in zip(geometry.shape, geometry.spacing, shape, wanted, strict=True)]
    origin = geometry.index_to_world(first)
    return Geometry(cast("tuple[int, int, int]", shape), wanted, _three(origin.tolist()), geometry.direction)


def resample(
    volume: AnyVolume,
    *,
    spacing: float | Sequence[float] = 1.0,
    order: int = 3,
    grid: Grid = "center",
    workers: int = 0,
) -> AnyVolume:
    """Resample a volume to another voxel size.

    Order 3 is the interpolating cubic B-spline: a curve through the samples, with the volume extended beyond its
    edges by its edge voxels. It agrees with ``scipy.ndimage.zoom`` and ``map_coordinates`` (order 3, mode
    ``"nearest"``) at the same positions. Like every cubic it can overshoot beside sharp edges.

    Parameters
    ----------
    volume : Volume or Mask, shape (z, y, x)
        int16 (HU), uint8 or float32. A `Mask` is always resampled to the nearest voxel, whatever `order` says:
        labels have no values in between.
    spacing : float or sequence of three float, (z, y, x), mm
        The voxel size wanted; one number stands for all axes.
    order : {3, 1, 0}
        Cubic B-spline, linear, or nearest voxel (the upper one of two equally near).
    grid : {"center", "corner"}
        How the new grid lies on the old one, see `resampled_geometry`.
    workers : int
        Threads; 0 for one per available core. The result is the same, byte for byte, for any number.

    Returns
    -------
    Volume or Mask
        Of the type, and the dtype, of the input. Integers are rounded half away from zero and saturate at the ends
        of their range. Where the grid is the input's already, the array is the input's, not a copy.

    Raises
    ------
    GeometryError
        If the spacing is not positive and finite, gives more than 2e9 voxels (4 GB of int16), or makes one voxel of
        32 or more along an axis.
    InputError
        If there is no such order or grid, or a float volume holds NaN or infinity.
    UnsupportedError
        If the voxels are of another type.

    Notes
    -----
    Unser, "Splines: a perfect fit for signal and image processing", IEEE Signal Processing Magazine 16(6):22-38, 1999.

    Examples
    --------
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
        return type(volume)(array, new)
    kernel = _nearest if isinstance(volume, Mask) or order == 0 else _interpolated
    return type(volume)(kernel(array, positions, order, workers), new)


def _check_size(geometry: Geometry, wanted: Sequence[float], ratios: Sequence[float]) -> None:
    """Refuse a grid that no memory holds."""
    voxels = prod(max(1.0, ratio) for ratio in ratios)
    if voxels <= _MOST_VOXELS:
        return
    old, new = " x ".join(f"{s:.4g}" for s in geometry.spacing), " x ".join(f"{t:.4g}" for t in wanted)
    sizes = " x ".join(f"{max(1.0, ratio):.4g}" for ratio in ratios)
    what = f"spacing {new} mm gives {sizes} voxels, {voxels * 2 / 1e9:.3g} GB, from voxels of {old} mm"
    raise GeometryError(
        f"{what}; at most 2e9 voxels are made", do="check the spacing of the scan, or ask for a larger one"
    )


def _checked(geometry: Geometry, wanted: Sequence[float], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Refuse an axis of many voxels that would end as one."""
    for axis, n, s, m, t in zip("zyx", geometry.shape, geometry.spacing, shape, wanted, strict=True):
        if m == 1 and n >= _MANY:
            what = f"{n} voxels of {s:.4g} mm along {axis} are {n * s:.4g} mm, and would end as one voxel of {t:.4g} mm"
            raise GeometryError(what, do="check the spacing of the scan, or ask for a smaller one")
    return shape


def _nearest(
    array: NDArray[np.generic], positions: list[NDArray[np.float64]], _order: int, workers: int
) -> NDArray[np.generic]:
    picks = [np.clip(np.floor(p + 0.5), 0, n - 1).astype(np.int64) for p, n in zip(positions, array.shape, strict=True)]
    return nearest(array, *picks, workers=workers)


def _interpolated(
    array: NDArray[np.generic], positions: list[NDArray[np.float64]], order: int, workers: int
) -> NDArray[np.generic]:
    check_finite(array)  # one such voxel would spread along whole lines
    taps = [make_taps(p, size=n, order=order) for p, n in zip(positions, array.shape, strict=True)]
    return interpolate(array, *taps, workers=workers)


def _positions(n: int, s: float, m: int, t: float, grid: Grid) -> NDArray[np.float64]:
    """Centers of the `m` new voxels of size `t`, in units of the `n` old ones of size `s`."""
    steps = np.arange(m, dtype=np.float64)
    if grid == "corner":
        scale = (n - 1) / (m - 1) if m > 1 else 1.0
        return steps * scale  # the product scipy forms, to the last bit
    # Rounding takes the noise off positions that are samples, or in the middle of two.
    return cast("NDArray[np.float64]", np.round((n - 1) / 2 + (steps - (m - 1) / 2) * (t / s), 9))


def _spacing(spacing: float | Sequence[float]) -> tuple[float, float, float]:
    try:
        values = np.asarray(spacing, dtype=np.float64)
        wanted = np.broadcast_to(values, 3).tolist()
    except (TypeError, ValueError) as error:
        raise GeometryError(f"spacing is {spacing!r}, expected one number or three (z, y, x), in mm") from error
    if not all(0 < s < np.inf for s in wanted):
        raise GeometryError(f"spacing is {spacing!r} mm, expected positive numbers")
    return _three(wanted)


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    z, y, x = values
    return (float(z), float(y), float(x))
