"""The header of a volume file, its geometry, its voxels, and their conversion to a `Volume` or a `Scan` in HU."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.errors import FormatError, GeometryError, UnsupportedError
from hilum.geometry import Geometry
from hilum.io.names import is_uid, series_name
from hilum.scan import Note, Scan
from hilum.volume import Mask, Volume

MIN_HU = -1024  # the lowest value of a CT; scanners mark voxels outside the scanned field with lower ones

MAX_HU = 32767

_SLAB_VOXELS = 2**17  # small enough for a processor's cache


_DO = "correct the file's header"


@dataclass(frozen=True, kw_only=True)
class VolumeHeader:
    """What the header of a volume file says, checked.

    Parameters
    ----------
    geometry : Geometry
    series_uid : str
        As the header has it, which may be no UID; empty where it has none.
    notes : tuple of Note
        What was odd.
    slope, intercept : float
        From stored values to Hounsfield units.
    is_mask : bool
        Whether the voxels are labels; only training stores say so.
    """

    geometry: Geometry
    series_uid: str = ""
    notes: tuple[Note, ...] = ()
    slope: float = 1.0
    intercept: float = 0.0
    is_mask: bool = False


Packing = Literal["raw", "gzip", "zlib", "bzip2"]


@dataclass(frozen=True, kw_only=True)
class BlockHeader(VolumeHeader):
    """The header of a file whose voxels are one block of bytes, here or in other files.

    Parameters
    ----------
    dtype : dtype
        With the byte order of the file.
    packing : str
    packed_size : int
        Bytes of the packed block; -1 for all that follow.
    skip : int
        Bytes before the voxels in their file; -1 where the voxels are its last bytes.
    files : tuple of str
        Data files as the header names them, one for all slices or one for each; empty where this file holds the voxels.
    """

    dtype: np.dtype[Any]
    packing: Packing = "raw"
    packed_size: int = -1
    skip: int = 0
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class VolumeFile:
    """The header and the voxels of a volume file.

    Parameters
    ----------
    header : VolumeHeader
    array : ndarray, shape (z, y, x)
        Stored values, of the file's own type.
    """

    header: VolumeHeader
    array: NDArray[Any]

    def to_volume(self) -> Volume:
        """Make a volume with the numbers of the file, a `Mask` where the header says that they are labels.

        Returns
        -------
        Volume
            Of the file's own type; of float64 where the header scales the numbers.
        """
        header = self.header
        if header.is_mask:
            return Mask(self.array, header.geometry)
        scaled = (header.slope, header.intercept) != (1.0, 0.0)
        return Volume(self.array * header.slope + header.intercept if scaled else self.array, header.geometry)

    def to_scan(self, path: Path) -> Scan:
        """Make a scan of int16 HU.

        Parameters
        ----------
        path : Path
            The file, for messages; the scan is named after it where the header has no series UID.

        Returns
        -------
        Scan
            It may use the memory of `array`.

        Raises
        ------
        UnsupportedError
            If the voxels are labels.
        FormatError
            As `convert_to_hu`.
        """
        header = self.header
        if header.is_mask:
            raise UnsupportedError("contains labels, not a CT", where=path, do="give the ct from the same folder")
        hu, notes = convert_to_hu(self.array, slope=header.slope, intercept=header.intercept, where=path)
        uid = header.series_uid if is_uid(header.series_uid) else series_name(path)
        return Scan(uid, Volume(hu, header.geometry), notes=header.notes + notes)


def volume_file(header: VolumeHeader, array: NDArray[Any], notes: Iterable[Note] = ()) -> VolumeFile:
    """Join a header and the voxels that were read for it.

    Parameters
    ----------
    header : VolumeHeader
    array : ndarray, shape (z, y, x)
        Of any byte order; swapped in place where it is not the machine's.
    notes : iterable of Note
        What was odd about the voxels.
    """
    if not array.dtype.isnative:
        array = array.byteswap(inplace=True).view(array.dtype.newbyteorder())
    return VolumeFile(replace(header, notes=(*header.notes, *notes)), array)


_Numbers = Sequence[float]


def make_geometry(
    shape: Sequence[int], spacing: _Numbers, origin: _Numbers, direction: Sequence[_Numbers], *, where: Path
) -> Geometry:
    """Make a geometry from a file's header; an error names the file.

    Parameters
    ----------
    shape : sequence of int, (z, y, x)
    spacing : sequence of float, (z, y, x), mm
    origin : sequence of float, (x, y, z), LPS mm
    direction : three unit vectors (x, y, z), LPS
        Of the array axes z, y, x.
    where : Path

    Raises
    ------
    GeometryError
        If there is no such geometry, or its spacing or origin is impossible for a patient.
    """
    try:
        geometry = Geometry(tuple(shape), tuple(spacing), tuple(origin), tuple(tuple(v) for v in direction))  # type: ignore[arg-type]  # Geometry checks the lengths
    except GeometryError as error:
        raise GeometryError(error.what, where=where, do=_DO) from error
    for name, values in (("spacing", geometry.spacing), ("origin", geometry.origin)):
        if max(map(abs, values)) >= 1e5:  # the header is damaged, or uses another unit
            raise GeometryError(f"{name} {values} mm is impossible for a patient", where=where, do=_DO)
    return geometry


def geometry_from_steps(shape: Sequence[int], *, steps: ArrayLike, origin: Sequence[float], where: Path) -> Geometry:
    """Make a geometry from the vectors between neighboring voxels.

    Parameters
    ----------
    shape : sequence of int, (z, y, x)
    steps : array_like, shape (3, 3), LPS mm
        One row (x, y, z) for each array axis, in the order z, y, x.
    origin : sequence of float, (x, y, z), LPS mm
    where : Path

    Raises
    ------
    GeometryError
        If a step is zero or not finite, or the steps are not at right angles.
    """
    rows = np.asarray(steps, np.float64)
    spacing = [math.hypot(*row) for row in rows.tolist()]
    if not (np.isfinite(rows).all() and min(spacing) > 0):
        raise GeometryError(f"steps between voxels {rows.tolist()} are not three vectors", where=where, do=_DO)
    direction = [[v / size + 0.0 for v in row] for row, size in zip(rows.tolist(), spacing, strict=True)]
    return make_geometry(shape, spacing, origin, direction, where=where)


def convert_to_hu(
    array: NDArray[Any], *, slope: float = 1.0, intercept: float = 0.0, where: Path
) -> tuple[NDArray[np.int16], tuple[Note, ...]]:
    """Convert numbers of any type to int16 Hounsfield units.

    ``slope * value + intercept`` is computed in float64 and rounded once, half to even. Values below -1024 (padding)
    become -1024, values above 32767 become 32767. nan, which some tools write outside the scanned field, becomes
    -1024. Each leaves a note with the number of voxels.

    Parameters
    ----------
    array : ndarray of integers or floats, shape (z, y, x)
        Used in place if it is native int16, unscaled and writable.
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
        If the numbers are not of a real type, or one is infinite.
    """
    if array.dtype.kind not in "iuf":
        raise FormatError(f"voxels of type {array.dtype} are not Hounsfield units", where=where, code="type")
    scaled = (slope, intercept) != (1.0, 0.0)
    in_place = array.dtype == np.dtype(np.int16) and array.flags.writeable and not scaled  # not equal where swapped
    hu = array if in_place else np.empty(array.shape, np.int16)
    low = high = missing = 0
    step = max(1, _SLAB_VOXELS // max(1, math.prod(array.shape[1:])))
    for start in range(0, array.shape[0], step):
        slab = slice(start, start + step)
        values = array[slab]
        if values.dtype.kind == "f" or scaled:
            # A copy, of float32 where that is enough: it rounds as exactly.
            wide = np.dtype(np.float64) if scaled else np.promote_types(values.dtype, np.float32)
            with np.errstate(over="ignore", invalid="ignore"):  # infinite results are refused below
                values = values.astype(wide)
                if scaled:
                    values *= slope
                    values += intercept
            unknown = np.isnan(values)
            if count := int(np.count_nonzero(unknown)):
                missing += count
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
        if not in_place or least < MIN_HU:
            hu[slab] = values
    counts = (
        (low, "padding-to-air", f"{low} voxels below {MIN_HU} HU set to {MIN_HU}"),
        (high, "saturated", f"{high} voxels above {MAX_HU} HU set to {MAX_HU}"),
        (missing, "nan-to-air", f"{missing} voxels that are not numbers (nan) set to {MIN_HU} HU"),
    )
    return cast("NDArray[np.int16]", hu), tuple(Note(code, text) for count, code, text in counts if count)
