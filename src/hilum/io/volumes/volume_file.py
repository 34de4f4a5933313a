"""What the readers share once a file's voxels are in memory: numbers to Hounsfield units, vectors to a grid."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from hilum.errors import FormatError
from hilum.io.uids import is_uid, series_name
from hilum.scan import Note, Scan
from hilum.volume import Mask, Volume

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from hilum.geometry import Geometry

MIN_HU = -1024
"""The lowest value of a CT; what stands below it is a scanner's mark for 'outside the field of view'."""

MAX_HU = 32767

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
                values[unknown] = MIN_HU
            if np.isinf(values).any():
                raise FormatError("a voxel is infinite", where=where, do="export the scan again", code="not-finite")
            np.rint(values, out=values)
        least, most = int(values.min()), int(values.max())
        if least < MIN_HU:
            low += int(np.count_nonzero(values < MIN_HU))
            values = np.maximum(values, values.dtype.type(MIN_HU))
        if most > MAX_HU:
            high += int(np.count_nonzero(values > MAX_HU))
            values = np.minimum(values, values.dtype.type(MAX_HU))
        if not ours or least < MIN_HU:
            hu[part] = values
    found = (
        (low, "padding-to-air", f"{low} voxels below {MIN_HU} HU set to {MIN_HU}"),
        (high, "saturated", f"{high} voxels above {MAX_HU} HU set to {MAX_HU}"),
        (missing, "nan-to-air", f"{missing} voxels that are not numbers (nan) set to {MIN_HU} HU"),
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
