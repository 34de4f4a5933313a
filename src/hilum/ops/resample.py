"""Resample a volume to another voxel size or grid; every structure keeps its position in the patient."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil, prod
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.resample.spline import interpolate, nearest
from hilum.errors import GeometryError, InputError, UnsupportedError
from hilum.geometry import Geometry, Vector
from hilum.ops.arguments import VolumeOrScan, geometry_of, volume_of
from hilum.ops.finite import check_finite
from hilum.ops.regrid import axis_taps, regrid, share_inside, smoothed_steps
from hilum.scan import Note, Scan
from hilum.volume import AnyVolume, Mask, Volume

Antialias = Literal["auto", "off"]
Grid = Literal["center", "corner"]

Order = Literal["cubic", "linear", "nearest", 3, 1, 0]

_ORDERS = {"cubic": 3, "linear": 1, "nearest": 0}
_DTYPES = ("int16", "uint8", "float32")

_SLACK = 1e-6  # 512 voxels of 0.78125 mm make 400 of 1 mm, not 401, also if the spacing was rounded to decimal text

_MOST_VOXELS = 2_000_000_000  # the largest grid allowed: 4 GB of int16, a whole body at 0.6 mm

_MANY = 32  # An axis of this many voxels must not become one voxel: one of the spacings is wrong. A small patch may.


def resampled_geometry(
    geometry: Geometry | Volume | Scan, spacing: float | Sequence[float], *, grid: Grid = "center"
) -> Geometry:
    """Compute the grid that `resample` gives a volume.

    Parameters
    ----------
    geometry : Geometry, Volume or Scan
        The grid before resampling.
    spacing : float or sequence of three float, (z, y, x), mm
        The new voxel size; one number stands for all axes.
    grid : {"center", "corner"}, default "center"
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
    >>> import hilum
    >>> scan = hilum.Geometry((240, 512, 512), (1.25, 0.75, 0.75))
    >>> hilum.resampled_geometry(scan, 1.0).shape
    (300, 384, 384)
    >>> [round(s, 5) for s in hilum.resampled_geometry(scan, 1.0, grid="corner").spacing]
    [0.99916, 1.00065, 1.00065]
    """
    if grid not in ("center", "corner"):
        raise InputError(f"grid is {grid!r}, expected center or corner", code="option")
    geometry, new_spacing = geometry_of(geometry), _spacing(spacing)
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
    volume: VolumeOrScan,
    spacing: float | Sequence[float] | None = None,
    *,
    like: Volume | Scan | Geometry | None = None,
    order: Order = "cubic",
    grid: Grid = "center",
    outside: float | None = None,
    antialias: Antialias = "auto",
    workers: int = 0,
) -> VolumeOrScan:
    """Resample a volume, a mask or a whole scan to another voxel size, or to the grid of another one.

    The cubic order is the interpolating B-spline. Half a voxel beyond the volume's edges the edge voxels are repeated.
    The result agrees with ``scipy.ndimage.zoom`` and ``map_coordinates`` (order 3, mode ``"nearest"``) at the same
    positions; on a much coarser grid with ``antialias="off"``. A cubic spline can overshoot next to sharp edges.

    Parameters
    ----------
    volume : Volume, Mask or Scan, shape (z, y, x)
        int16 (HU), uint8 or float32. A `Mask` always gets the label of the nearest voxel, whatever the order.
    spacing : float or sequence of three float, (z, y, x), mm
        The new voxel size, 1 mm by default; one number stands for all axes.
    like : Volume, Scan or Geometry, optional
        Instead of a spacing: the grid to sample, wherever it lies in the world, oblique grids too. hilum does not
        register scans: both need one frame of reference.
    order : {"cubic", "linear", "nearest"}, or 3, 1, 0, default "cubic"
        Cubic B-spline, linear, or nearest voxel (the upper one of two equally near).
    grid : {"center", "corner"}, default "center"
        For a spacing: where the new voxels lie, see `resampled_geometry`.
    outside : float, optional
        With `like`: the value of voxels beyond the volume. By default -1000 HU (air) for int16, 0 for uint8; a mask
        always gets 0. A float volume that does not fill the grid needs it.
    antialias : {"auto", "off"}, default "auto"
        ``"auto"`` smooths along each axis on which new voxels are larger than 1 mm and than two old ones: otherwise one
        voxel in many is picked, and noise and structures that are too fine for the new grid become patterns. The kernel
        is as wide as the new voxels ask: cubic convolution for the cubic order, a triangle for the linear one.
        ``"off"`` never smooths. Masks, the order ``"nearest"`` and the grid ``"corner"``, which does what scipy does,
        are never smoothed.
    workers : int, default 0
        Threads; 0 for one per available core. The result is the same, byte for byte, for any number.

    Returns
    -------
    Volume, Mask or Scan
        The type and dtype of the input. Integers are rounded half away from zero and clipped to their range. If the
        grid does not change, the array is the input's, not a copy.

        Of a scan, ``ct``, ``lungs`` and ``nodule_mask`` are resampled. Nodules and label maps stay: they lie in the
        world. ``slice_uids`` and ``nodule_figures``, which describe the old voxels, are left out. If a part of the new
        grid lies beyond the scan, a note says so.

    Raises
    ------
    GeometryError
        As for `resampled_geometry`, or if `like` shares no voxel with the volume or has more than 2e9.
    InputError
        If there is no such order or grid, both `spacing` and `like` are given, a float volume contains NaN or infinity,
        or `outside` is missing.
    InputTypeError
        If the argument is neither a volume nor a scan.
    UnsupportedError
        If the voxels have another type.

    Notes
    -----
    Unser, "Splines: a perfect fit for signal and image processing", IEEE Signal Processing Magazine 16(6):22-38, 1999.

    Examples
    --------
    >>> import hilum
    >>> import numpy as np
    >>> ct = hilum.Volume(np.full((2, 4, 4), -1000, np.int16), hilum.Geometry((2, 4, 4), (2.0, 0.5, 0.5)))
    >>> hilum.resample(ct, 1.0).shape
    (4, 2, 2)
    >>> hilum.resample(hilum.resample(ct, 1.0), like=ct, order="linear").shape
    (2, 4, 4)
    """
    ct, code = volume_of(volume), _order_code(order)
    if antialias not in ("auto", "off"):
        raise InputError(f"antialias is {antialias!r}, expected auto or off", code="option")
    smooth = antialias == "auto" and not (like is None and grid == "corner")
    if like is None:
        size = 1.0 if spacing is None else spacing
        new = resampled_geometry(ct.geometry, size, grid=grid)
    elif spacing is not None:
        raise InputError("both a spacing and a grid to sample are given", do="leave one of them out", code="option")
    elif (voxels := prod((new := geometry_of(like)).shape)) > _MOST_VOXELS:
        raise GeometryError(f"the grid has {voxels:.3g} voxels; the limit is 2e9", do="choose a smaller grid")

    def change(one: AnyVolume) -> AnyVolume:
        if like is None:
            return _to_spacing(one, new, code, grid, smooth=smooth, workers=workers)
        return regrid(_native(one), new, order=code, outside=outside, antialias=smooth, workers=workers)

    if not isinstance(volume, Scan):
        return cast("VolumeOrScan", change(ct))
    changed = _change_scan(volume, change, new)
    return cast("VolumeOrScan", changed if like is None else _note_beyond(changed, volume.ct.geometry))


def _change_scan(scan: Scan, change: Callable[[Any], Any], new: Geometry) -> Scan:
    """Bring the volume and the masks of a scan to a grid."""
    if new == scan.ct.geometry:
        return scan
    lungs, nodule_mask = (
        None if mask is None else change(replace(mask, geometry=scan.ct.geometry))  # they may differ by rounding
        for mask in (scan.lungs, scan.nodule_mask)
    )
    ct = change(scan.ct)
    return replace(scan, ct=ct, lungs=lungs, nodule_mask=nodule_mask, slice_uids=(), nodule_figures=())


def _note_beyond(scan: Scan, before: Geometry) -> Scan:
    """Note that a part of a scan's grid lies beyond the grid that it had before, if it does."""
    if (share := share_inside(before, scan.ct.geometry)) == 1:
        return scan
    text = f"about {max(1, round(100 - 100 * share))} % of the grid lies beyond the scan: filled, not measured"
    return replace(scan, notes=(*scan.notes, Note("beyond-scan", text)))


def _to_spacing(volume: AnyVolume, new: Geometry, order: int, grid: Grid, *, smooth: bool, workers: int) -> AnyVolume:
    """Resample to a grid of `resampled_geometry`."""
    array, old = _native(volume).array, volume.geometry
    positions = [_positions(*axis, grid) for axis in zip(old.shape, old.spacing, new.shape, new.spacing, strict=True)]
    if all(np.array_equal(p, np.arange(n)) for p, n in zip(positions, old.shape, strict=True)):
        return replace(volume, array=array, geometry=new)
    if isinstance(volume, Mask) or order == 0:
        rounded = [np.floor(p + 0.5).clip(0, n - 1).astype(np.int64) for p, n in zip(positions, old.shape, strict=True)]
        return replace(volume, array=nearest(array, *rounded, workers=workers), geometry=new)
    check_finite(array)  # one such voxel would spread along its lines
    steps = smoothed_steps(np.divide(new.spacing, old.spacing), old.spacing, antialias=smooth)
    taps = [axis_taps(*axis, order=order) for axis in zip(positions, old.shape, steps, strict=True)]
    return replace(volume, array=interpolate(array, *taps, workers=workers), geometry=new)


def _native(volume: AnyVolume) -> AnyVolume:
    """The volume in the machine's byte order; refused if its type cannot be resampled."""
    array = volume.array.astype(volume.array.dtype.newbyteorder("="), copy=False)
    if array.dtype.name not in _DTYPES:
        what = f"a volume of {array.dtype} cannot be resampled, only {', '.join(_DTYPES)}"
        raise UnsupportedError(what, do="convert the voxels first")
    return volume if array is volume.array else replace(volume, array=array)


def _order_code(order: object) -> int:
    if isinstance(order, str) and order in _ORDERS:
        return _ORDERS[order]
    if isinstance(order, int) and not isinstance(order, bool) and order in _ORDERS.values():
        return order
    expected = "expected cubic (3), linear (1) or nearest (0)"
    raise InputError(f"order is {order!r}, {expected}", code="option")


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
