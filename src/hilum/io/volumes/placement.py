"""A `Geometry` as JSON: in records, and in the training stores that have no header of their own.

The placement of a store is in the .json of a .npy, in the header of a .b2nd, or in the attributes of a .zarr.
"""

import math
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import numpy as np

from hilum.errors import FormatError
from hilum.geometry import Geometry
from hilum.io.volumes.volume_file import VolumeHeader, make_geometry
from hilum.volume import Mask, Volume

_Triple = tuple[float, float, float]

NOT_OURS = "was not written by hilum: it does not state its geometry"  # what is wrong with a store without a placement


class GridRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A `Geometry` in JSON: shape and spacing (z, y, x), mm; origin (x, y, z), LPS mm; a unit vector per array axis."""

    shape: tuple[int, int, int]
    spacing: _Triple
    origin: _Triple
    direction: tuple[_Triple, _Triple, _Triple]

    def __post_init__(self) -> None:
        """Refuse an impossible shape or spacing."""
        if min(self.shape) < 1 or not all(0.0 < step < math.inf for step in self.spacing):
            raise ValueError("is not a grid")

    @classmethod
    def of(cls, geometry: Geometry) -> "GridRecord":
        """Write a geometry as a record."""
        return cls(shape=geometry.shape, spacing=geometry.spacing, origin=geometry.origin, direction=geometry.direction)

    def to_geometry(self) -> Geometry:
        """Read the geometry of a record."""
        return Geometry(self.shape, self.spacing, self.origin, self.direction)


class Placement(msgspec.Struct, frozen=True):
    """The geometry of a stored volume as JSON, and whether the voxels are labels; axes and units as in `Geometry`."""

    kind: Literal["volume", "mask"]
    shape: tuple[int, int, int]
    spacing: _Triple
    origin: _Triple
    direction: tuple[_Triple, _Triple, _Triple]
    series_uid: str = ""

    def to_header(self, *, where: Path) -> VolumeHeader:
        """Check the geometry, and make a header of the placement.

        Raises
        ------
        GeometryError
            If the geometry is impossible.
        """
        geometry = make_geometry(self.shape, self.spacing, self.origin, self.direction, where=where)
        return VolumeHeader(geometry=geometry, series_uid=self.series_uid, is_mask=self.kind == "mask")

    def check(self, shape: tuple[int, ...], dtype: np.dtype[Any], *, where: Path) -> None:
        """Compare the placement with the shape and type that a file declares.

        Raises
        ------
        FormatError
            If they disagree.
        """
        if shape != self.shape:
            raise FormatError(f"has shape {shape}, but its geometry says {self.shape}", where=where, code="shape")
        if self.kind == "mask" and dtype not in (np.dtype(np.uint8), np.dtype(np.bool_)):
            raise FormatError(f"holds {dtype}, but its geometry says it is a mask", where=where, code="type")


class TypedPlacement(Placement, frozen=True, kw_only=True):
    """A placement that also names the type of the voxels.

    Packed stores need it: their own header names the type by one letter, and a changed letter turns HU into floats.
    """

    dtype: str

    def check(self, shape: tuple[int, ...], dtype: np.dtype[Any], *, where: Path) -> None:
        """Compare the placement with the shape and type that a file declares; raise `FormatError` if they disagree."""
        if self.dtype != dtype.name:
            what = f"holds {dtype.name}, but its geometry says {self.dtype[:20]}"
            raise FormatError(what, where=where, do="write it again", code="type")
        super().check(shape, dtype, where=where)


_P = TypeVar("_P", bound=Placement)


def placement_of(volume: Volume, *, series_uid: str = "") -> Placement:
    """Make the placement of a volume.

    Parameters
    ----------
    volume : Volume
        The volume whose grid is described.
    series_uid : str
        Stored if it is a UID.
    """
    geometry = volume.geometry
    kind: Literal["volume", "mask"] = "mask" if isinstance(volume, Mask) else "volume"
    return Placement(kind, geometry.shape, geometry.spacing, geometry.origin, geometry.direction, series_uid)


def decode_placement(text: bytes | str | dict[str, Any], kind: type[_P], *, where: Path) -> _P:
    """Read a placement from JSON.

    Parameters
    ----------
    text : bytes, str or dict
        The JSON, or the object that it decodes to.
    kind : type
        `Placement` or a subclass.
    where : Path
        For messages.

    Raises
    ------
    FormatError
        If it is not of that form.
    """
    try:
        return msgspec.convert(text, kind) if isinstance(text, dict) else msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"is not a geometry: {error}", where=where, do="write the volume again") from error
