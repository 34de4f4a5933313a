"""What the readers share once a file's voxels are in memory: numbers to Hounsfield units, vectors to a grid."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from hilum.errors import FormatError, GeometryError
from hilum.geometry import Geometry
from hilum.io.names import made_up_name, safe_name
from hilum.scan import Note, Scan
from hilum.volume import Mask, Volume

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

_PLAUSIBLE_MM = 1e5
"""What a scanner's room could hold: beyond it, a header is damaged or in other units."""

_DATE = re.compile(r"[0-9]{1,4}\.[0-9]{1,2}\.[0-9]{1,4}")
"""What three numbers with dots can be, too."""

AIR_HU = -1024
"""The lowest value of a CT; what stands below it is a scanner's mark for 'outside the field of view'."""

MOST_HU = 32767

_SLAB_VOXELS = 2**17
"""Small enough for a processor's cache."""


def to_hu(
    array: NDArray[Any], *, slope: float = 1.0, intercept: float = 0.0, where: Path
) -> tuple[NDArray[np.int16], tuple[Note, ...]]:
    """Numbers of any type as int16 Hounsfield units.

    ``slope * value + intercept`` is computed in float64 and rounded once, half to even. Values below -1024 (padding)
    become -1024, values above 32767 become 32767, and nan, which some tools write outside the field of view,
    becomes -1024; each leaves a note with the number of voxels.

    Parameters
    ----------
    array : ndarray of integers or floats, shape (z, y, x)
        Used in place where it is already native int16, unscaled and writable.
    slope, intercept : float
        Finite.
    where : Path
        For messages.

    Returns
    -------
    ndarray of int16, shape (z, y, x), HU
    tuple of Note
        Codes ``"padding-to-air"``, ``"saturated"``, ``"nan-to-air"``.

    Raises
    ------
    FormatError
        If the numbers are of no real type, or one is infinite.
    """
    if array.dtype.kind not in "iuf":
        raise FormatError(f"voxels of type {array.dtype} are no Hounsfield units", where=where, code="type")
    scaled = (slope, intercept) != (1.0, 0.0)
    ours = array.dtype == np.dtype(np.int16) and array.flags.writeable and not scaled  # not equal where swapped
    hu = array if ours else np.empty(array.shape, np.int16)
    low = high = missing = 0
    for part in _slabs(array.shape):
        values = array[part]
        if values.dtype.kind == "f" or scaled:
            # A copy, of float32 where that is enough: it rounds as exactly.
            wide = np.dtype(np.float64) if scaled else np.promote_types(values.dtype, np.float32)
            with np.errstate(over="ignore", invalid="ignore"):  # what comes out infinite is refused below
                values = values.astype(wide)
                if scaled:
                    values *= slope
                    values += intercept
            unknown = np.isnan(values)
            if here := int(np.count_nonzero(unknown)):
                missing += here
                values[unknown] = AIR_HU
            if np.isinf(values).any():
                raise FormatError("a voxel is infinite", where=where, do="export the scan again", code="not-finite")
            np.rint(values, out=values)
        least, most = int(values.min()), int(values.max())
        if least < AIR_HU:
            low += int(np.count_nonzero(values < AIR_HU))
            values = np.maximum(values, values.dtype.type(AIR_HU))
        if most > MOST_HU:
            high += int(np.count_nonzero(values > MOST_HU))
            values = np.minimum(values, values.dtype.type(MOST_HU))
        if not ours or least < AIR_HU:
            hu[part] = values
    found = (
        (low, "padding-to-air", f"{low} voxels below {AIR_HU} HU set to {AIR_HU}"),
        (high, "saturated", f"{high} voxels above {MOST_HU} HU set to {MOST_HU}"),
        (missing, "nan-to-air", f"{missing} voxels that are not numbers (nan) set to {AIR_HU} HU"),
    )
    return cast("NDArray[np.int16]", hu), tuple(Note(code, text) for count, code, text in found if count)


def _slabs(shape: tuple[int, ...]) -> Iterator[slice]:
    """Slices along the first axis that hold about `_SLAB_VOXELS` voxels, so that temporaries stay small."""
    step = max(1, _SLAB_VOXELS // max(1, math.prod(shape[1:])))
    return (slice(start, start + step) for start in range(0, shape[0], step))


def to_mask(volume: Volume, *, where: Path) -> Mask:
    """A volume of whole numbers from 0 to 255 as labels.

    Parameters
    ----------
    volume : Volume
        Of any type.
    where : Path
        For messages.

    Returns
    -------
    Mask

    Raises
    ------
    FormatError
        If a value is no label.
    """
    array = volume.array
    if array.dtype.kind == "b" or array.dtype == np.uint8:
        return Mask(array, volume.geometry)
    if array.dtype.kind not in "iuf" or not (np.min(array) >= 0 and np.max(array) <= 255):
        raise FormatError("holds values that are no labels from 0 to 255", where=where, do="give a mask", code="type")
    labels = array.astype(np.uint8)
    if not np.array_equal(labels, array):
        raise FormatError("holds fractions, no labels", where=where, do="give a mask of whole numbers", code="type")
    return Mask(labels, volume.geometry)


def to_scan(
    array: NDArray[Any],
    geometry: Geometry,
    *,
    where: Path,
    slope: float = 1.0,
    intercept: float = 0.0,
    notes: tuple[Note, ...] = (),
    series_uid: str = "",
) -> Scan:
    """A file's voxels as a scan, named as the file says, or after the file.

    Parameters
    ----------
    array : ndarray, shape (z, y, x)
        Freshly read; it may be used in place.
    geometry : Geometry
    where : Path
        The file.
    slope, intercept : float
        As for `to_hu`.
    notes : tuple of Note
        What the reader met.
    series_uid : str
        What the file says of its series; anything but a UID is passed over.

    Returns
    -------
    Scan

    Raises
    ------
    FormatError
        As `to_hu`.
    """
    hu, more = to_hu(array, slope=slope, intercept=intercept, where=where)
    uid = series_uid if is_uid(series_uid) else series_name(where)
    return Scan(uid, Volume(hu, geometry), notes=notes + more)


def is_uid(text: str) -> bool:
    """Whether a text is a DICOM UID (PS3.5 section 9.1), or near enough: numbers and dots, three parts at least.

    Parameters
    ----------
    text : str

    Returns
    -------
    bool
    """
    return len(text) <= 64 and re.fullmatch(r"[0-9]+(\.[0-9]+){2,}", text) is not None


def series_name(path: Path) -> str:
    """The series a file is named after: LUNA16 calls its files by their Series Instance UID.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str
        The name without its suffix, where that is a UID or `hilum.io.names` lets it pass; a made-up one otherwise.
    """
    name = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
    stem = name.rpartition(".")[0] or name
    passes = safe_name(stem) or (is_uid(stem) and not _DATE.fullmatch(stem))
    return stem if passes and len(stem) <= 64 else made_up_name(stem)


def make_geometry(
    shape: Sequence[int],
    *,
    spacing: Sequence[float],
    origin: Sequence[float],
    direction: Sequence[Sequence[float]],
    where: Path,
) -> Geometry:
    """A grid from a file; an impossible one is refused in the name of the file.

    Parameters
    ----------
    shape : sequence of int, (z, y, x)
    spacing : sequence of float, (z, y, x), mm
    origin : sequence of float, (x, y, z), LPS mm
    direction : three unit vectors (x, y, z), LPS
        Of the array axes z, y, x.
    where : Path

    Returns
    -------
    Geometry

    Raises
    ------
    GeometryError
    """
    try:
        grid = Geometry(tuple(shape), tuple(spacing), tuple(origin), tuple(tuple(v) for v in direction))  # type: ignore[arg-type]  # Geometry checks the lengths
    except GeometryError as error:
        raise GeometryError(error.what, where=where, do="correct the file's header") from error
    for name, values in (("spacing", grid.spacing), ("origin", grid.origin)):
        if max(map(abs, values)) >= _PLAUSIBLE_MM:
            what = f"{name} {values} mm is that of no patient"
            raise GeometryError(what, where=where, do="correct the file's header")
    return grid


def geometry_from_steps(shape: Sequence[int], *, steps: ArrayLike, origin: Sequence[float], where: Path) -> Geometry:
    """A grid from the steps between neighboring voxels.

    Parameters
    ----------
    shape : sequence of int, (z, y, x)
    steps : array_like, shape (3, 3), LPS mm
        One row (x, y, z) an array axis, in the order z, y, x.
    origin : sequence of float, (x, y, z), LPS mm
    where : Path

    Returns
    -------
    Geometry

    Raises
    ------
    GeometryError
        If a step is zero or not finite, or the steps are not at right angles.
    """
    rows = np.asarray(steps, np.float64)
    spacing = [math.hypot(*row) for row in rows.tolist()]
    if not (np.isfinite(rows).all() and min(spacing) > 0):
        raise GeometryError(
            f"steps between voxels {rows.tolist()} are not three vectors", where=where, do="correct the file's header"
        )
    direction = [[v / size + 0.0 for v in row] for row, size in zip(rows.tolist(), spacing, strict=True)]
    return make_geometry(shape, spacing=spacing, origin=origin, direction=direction, where=where)
