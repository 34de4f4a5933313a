"""Where the voxels of a training store lie in the world: the JSON beside a .npy, inside a .b2nd and a .zarr."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec
import numpy as np

from hilum.errors import FormatError
from hilum.geometry import Geometry
from hilum.io.uids import is_uid
from hilum.io.volumes.header_geometry import make_geometry
from hilum.volume import Mask, Volume

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


_Triple = tuple[float, float, float]


class GridRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A `Geometry` in JSON: shape and spacing (z, y, x), mm; origin (x, y, z), LPS mm; a unit vector per array axis."""

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[tuple[float, float, float], ...]

    def __post_init__(self) -> None:
        """Refuse a record that is no grid."""
        if min(self.shape) < 1 or not all(0.0 < step < math.inf for step in self.spacing) or len(self.direction) != 3:
            raise ValueError("is not a grid")


class Placement(msgspec.Struct, frozen=True):
    """Voxel things (z, y, x), world things (x, y, z) in LPS mm, as in `Geometry`; and whether the voxels are labels."""

    kind: Literal["volume", "mask"]
    shape: tuple[int, int, int]
    spacing: _Triple
    origin: _Triple
    direction: tuple[_Triple, _Triple, _Triple]
    series_uid: str = ""


class TypedPlacement(Placement, frozen=True, kw_only=True):
    """The same where the voxels are packed: their type is told twice, for one changed letter makes floats of HU."""

    dtype: str


_P = TypeVar("_P", bound=Placement)


def placement_of(volume: Volume, *, series_uid: str = "") -> Placement:
    """Say where a volume lies.

    Parameters
    ----------
    volume : Volume
    series_uid : str
        Kept where it is a UID.

    Returns
    -------
    Placement
    """
    grid = volume.geometry
    kind: Literal["volume", "mask"] = "mask" if isinstance(volume, Mask) else "volume"
    uid = series_uid if is_uid(series_uid) else ""
    return Placement(kind, grid.shape, grid.spacing, grid.origin, grid.direction, uid)


def decode_placement(text: bytes | str | dict[str, Any], *, where: Path, kind: type[_P] = Placement) -> _P:  # type: ignore[assignment]  # the default is what it says
    """Read a placement from JSON.

    Parameters
    ----------
    text : bytes, str or dict
        The JSON, or what it decodes to.
    where : Path
        For messages.
    kind : type
        `Placement`, or one that holds more.

    Returns
    -------
    Placement

    Raises
    ------
    FormatError
        If it is none.
    """
    try:
        if isinstance(text, dict):
            return msgspec.convert(text, kind)
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"is not a geometry: {error}", where=where, do="write the volume again") from error


def check_type(place: TypedPlacement, dtype: np.dtype[Any], *, where: Path) -> None:
    """Hold the type that a file declares against its placement.

    Parameters
    ----------
    place : TypedPlacement
    dtype : dtype
    where : Path

    Raises
    ------
    FormatError
        If the two disagree.
    """
    if place.dtype != dtype.name:
        what = f"holds {dtype.name}, but its geometry says {place.dtype[:20]}"
        raise FormatError(what, where=where, do="write it again", code="type")


def placed_geometry(place: Placement, *, where: Path) -> Geometry:
    """Make the grid that a placement describes.

    Parameters
    ----------
    place : Placement
    where : Path
        For messages.

    Returns
    -------
    Geometry

    Raises
    ------
    GeometryError
        If there is no such grid.
    """
    return make_geometry(
        place.shape, spacing=place.spacing, origin=place.origin, direction=place.direction, where=where
    )


def check_placed(place: Placement, shape: tuple[int, ...], dtype: np.dtype[Any], *, where: Path) -> None:
    """Hold the voxels that a file declares against its placement.

    Parameters
    ----------
    place : Placement
    shape : tuple of int
        As the file declares it.
    dtype : dtype
    where : Path

    Raises
    ------
    FormatError
        If the two disagree.
    """
    if shape != place.shape:
        raise FormatError(f"has shape {shape}, but its geometry says {place.shape}", where=where, code="shape")
    if place.kind == "mask" and dtype not in (np.dtype(np.uint8), np.dtype(np.bool_)):
        raise FormatError(f"holds {dtype}, but its geometry says it is a mask", where=where, code="type")


def placed_volume(place: Placement, array: NDArray[Any], *, where: Path) -> Volume:
    """Put an array where a placement says.

    Parameters
    ----------
    place : Placement
    array : ndarray, shape (z, y, x)
    where : Path

    Returns
    -------
    Volume
        A `Mask` where one was written.

    Raises
    ------
    FormatError, GeometryError
        If the two disagree, or there is no such grid.
    """
    check_placed(place, array.shape, array.dtype, where=where)
    geometry = placed_geometry(place, where=where)
    return Mask(array, geometry) if place.kind == "mask" else Volume(array, geometry)


def grid_of(record: GridRecord) -> Geometry:
    """Read a geometry from a record.

    Parameters
    ----------
    record : GridRecord

    Returns
    -------
    Geometry
    """
    first, second, third = record.direction
    return Geometry(record.shape, record.spacing, record.origin, (first, second, third))


def grid_record(geometry: Geometry) -> GridRecord:
    """Write a geometry as a record.

    Parameters
    ----------
    geometry : Geometry

    Returns
    -------
    GridRecord
    """
    return GridRecord(
        shape=geometry.shape,
        spacing=geometry.spacing,
        origin=geometry.origin,
        direction=geometry.direction,
    )
