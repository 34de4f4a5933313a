"""The header of a volume file, its geometry, its voxels, and how they become a `Volume` or a `Scan` in HU."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.errors import GeometryError, UnsupportedError, one_line
from hilum.geometry import Geometry
from hilum.io.names import is_uid, series_name
from hilum.io.padding_values import AIR
from hilum.io.volumes.hu import convert_to_hu
from hilum.io.volumes.shear import Shear, unshear
from hilum.scan import Note, Scan
from hilum.volume import Mask, Volume

UNITS_MM = MappingProxyType({
    "mm": 1.0, "millimeter": 1.0, "millimetre": 1.0, "": 1.0, "?": 1.0, "???": 1.0,
    "cm": 10.0, "centimeter": 10.0, "centimetre": 10.0, "m": 1000.0, "meter": 1000.0, "metre": 1000.0,
    "um": 0.001, "\N{MICRO SIGN}m": 0.001, "\N{GREEK SMALL LETTER MU}m": 0.001, "micron": 0.001,
    "micrometer": 0.001, "micrometre": 0.001, "nm": 1e-6, "nanometer": 1e-6, "nanometre": 1e-6,
    "dm": 100.0, "inch": 25.4,
})  # fmt: skip
"""Millimetres per unit of length, by its name in lower case; without a name it is a millimetre."""

_DO = "correct the file's header"


@dataclass(frozen=True, kw_only=True)
class VolumeHeader:
    """What the header of a volume file says, checked.

    Parameters
    ----------
    geometry : Geometry
        Where the voxels lie.
    series_uid : str
        As the header has it, which may be no UID; empty where it has none.
    notes : tuple of Note
        What was odd.
    slope, intercept : float
        From stored values to Hounsfield units.
    is_mask : bool
        Whether the voxels are labels; only training stores say so.
    shear : Shear or None
        How the planes of the file have to be shifted on the grid.
    label_names : tuple of (str, int)
        Names of values, if the voxels are labels and the header names them.
    """

    geometry: Geometry
    series_uid: str = ""
    notes: tuple[Note, ...] = ()
    slope: float = 1.0
    intercept: float = 0.0
    is_mask: bool = False
    shear: Shear | None = None
    label_names: tuple[tuple[str, int], ...] = ()


Packing = Literal["raw", "gzip", "zlib", "bzip2"]


@dataclass(frozen=True, kw_only=True)
class BlockHeader(VolumeHeader):
    """The header of a file whose voxels are one block of bytes, here or in other files.

    Parameters
    ----------
    dtype : dtype
        With the byte order of the file.
    packing : str
        How the block is packed, such as ``gzip``; empty if it is not.
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
        The header that was read.
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
        array = self.array * header.slope + header.intercept if scaled else self.array
        return self._straight(array, fill=float(array.min()) if header.shear else 0.0)

    def on_straight_grid(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Labels of the file's shape on the straight grid, never mixed; the labels themselves if nothing is sheared."""
        volume, shear = Volume(labels, self.header.geometry), self.header.shear
        return labels if shear is None else unshear(volume, shear, fill=0.0, order=0).array

    def _straight(self, array: NDArray[Any], *, fill: float) -> Volume:
        """A volume on the straight grid; 8 bits are labels, not a CT, and are never mixed."""
        volume, shear = Volume(array, self.header.geometry), self.header.shear
        order = 0 if self.array.dtype.itemsize == 1 else 3
        return volume if shear is None else unshear(volume, shear, fill=fill, order=order)

    def to_scan(self, path: Path, *, tilt: str = "correct") -> Scan:
        """Make a scan of int16 HU.

        Parameters
        ----------
        path : Path
            The file, for messages; the scan is named after it where the header has no series UID.
        tilt : {"correct", "refuse"}
            What to do with sheared axes.

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
            raise UnsupportedError("contains labels, not a CT", where=path, do="hilum.read_mask(...) reads labels")
        if header.shear is not None and tilt == "refuse":
            what = "its axes are sheared (tilted gantry)"
            do = "without --no-tilt (tilt='correct') its planes are shifted onto a straight grid"
            raise UnsupportedError(what, where=path, do=do, code="gantry-tilt")
        hu, notes = convert_to_hu(self.array, slope=header.slope, intercept=header.intercept, where=path)
        uid = header.series_uid if is_uid(header.series_uid) else series_name(path)
        return Scan(
            uid, self._straight(hu, fill=0 if self.array.dtype.itemsize == 1 else AIR), notes=header.notes + notes
        )


def volume_file(header: VolumeHeader, array: NDArray[Any], notes: Iterable[Note] = ()) -> VolumeFile:
    """Join a header and the voxels that were read for it.

    Parameters
    ----------
    header : VolumeHeader
        The header that was read.
    array : ndarray, shape (z, y, x)
        Of any byte order; swapped in place where it is not the machine's.
    notes : iterable of Note
        What was odd about the voxels.
    """
    if not array.dtype.isnative:
        array = array.byteswap(inplace=True).view(array.dtype.newbyteorder())
    return VolumeFile(replace(header, notes=(*header.notes, *notes)), array)


_Numbers = Sequence[float]


def unit_of_length(name: str, *, where: Path) -> float:
    """Millimetres per unit of length, by its name in a header.

    Raises
    ------
    UnsupportedError
        If the name is unknown.
    """
    plain = name.strip().lower()
    if (scale := UNITS_MM.get(plain.removesuffix("s") if len(plain) > 4 else plain)) is None:
        what = f"measures lengths in {one_line(name, limit=40)!r}, an unknown unit"
        raise UnsupportedError(what, where=where, do="export it in mm")
    return scale


def unit_notes(*scales: float) -> tuple[Note, ...]:
    """Note lengths that were converted to millimetres; none where they were stored so."""
    others = sorted({scale for scale in scales if scale != 1})
    units = " and ".join(f"{scale:g} mm" for scale in others)
    return (Note("units", f"lengths are stored in units of {units} and were converted"),) if others else ()


def make_geometry(
    shape: Sequence[int], spacing: _Numbers, origin: _Numbers, direction: Sequence[_Numbers], *, where: Path
) -> Geometry:
    """Make a geometry from a file's header; an error names the file.

    Parameters
    ----------
    shape : sequence of int, (z, y, x)
        Number of voxels along each axis.
    spacing : sequence of float, (z, y, x), mm
        Distance of voxel centers.
    origin : sequence of float, (x, y, z), LPS mm
        Position of the first voxel.
    direction : three unit vectors (x, y, z), LPS
        Of the array axes z, y, x.
    where : Path
        The file, for the message of an error.

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


def check_steps(steps: NDArray[np.float64], where: Path) -> None:
    """Refuse steps between voxels that are zero or not finite."""
    if not (np.isfinite(steps).all() and min(math.hypot(*row) for row in steps.tolist()) > 0):
        raise GeometryError(f"steps between voxels {steps.tolist()} are not three vectors", where=where, do=_DO)


def geometry_from_steps(shape: Sequence[int], *, steps: ArrayLike, origin: Sequence[float], where: Path) -> Geometry:
    """Make a geometry from the vectors between neighboring voxels.

    Parameters
    ----------
    shape : sequence of int, (z, y, x)
        Number of voxels along each axis.
    steps : array_like, shape (3, 3), LPS mm
        One row (x, y, z) for each array axis, in the order z, y, x.
    origin : sequence of float, (x, y, z), LPS mm
        Position of the first voxel.
    where : Path
        The file, for the message of an error.

    Raises
    ------
    GeometryError
        If a step is zero or not finite, or the steps are not at right angles.
    """
    rows = np.asarray(steps, np.float64)
    check_steps(rows, where)
    spacing = [math.hypot(*row) for row in rows.tolist()]
    direction = [[v / size + 0.0 for v in row] for row, size in zip(rows.tolist(), spacing, strict=True)]
    return make_geometry(shape, spacing, origin, direction, where=where)
