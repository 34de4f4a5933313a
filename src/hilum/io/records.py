"""The form of what hilum says in JSON of grids, nodules, files and finished scans."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from hilum.geometry import Geometry


class GridRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A `Geometry` in JSON: shape and spacing (z, y, x), mm; origin (x, y, z), LPS mm; a unit vector per array axis."""

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[tuple[float, float, float], ...]


class NoduleRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A nodule: its value in the mask, center in the world (x, y, z), LPS mm, and as a fractional voxel (z, y, x).

    ``readers`` outlined it, 0 where only a sphere is known; ``agreement`` is the mean Dice coefficient of their pairs;
    ``scores`` are their mean ratings.
    """

    label: int
    world: tuple[float, float, float]
    voxel: tuple[float, float, float]
    diameter_mm: float
    inside: bool
    readers: int = 0
    agreement: float | None = None
    scores: dict[str, float] = {}


class FileRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Size and SHA-256 of one file of a finished scan."""

    bytes: int
    sha256: str


class ScanRecord(msgspec.Struct, frozen=True, kw_only=True):
    """All that ``scan.json`` says of a finished scan."""

    scan_id: str
    series_uid: str
    version: str
    recipe: str
    recipe_sha256: str
    fingerprint: str
    unit: str
    geometry: GridRecord
    source_geometry: GridRecord
    nodules: list[NoduleRecord]
    notes: list[dict[str, str]]
    figures: dict[str, float]
    files: dict[str, FileRecord]


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
