"""The form of what hilum says in JSON of grids, nodules, files and finished scans."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from hilum.geometry import Geometry


class GridRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A `Geometry` as it stands in ``scan.json``."""

    shape_zyx: tuple[int, int, int]
    spacing_zyx_mm: tuple[float, float, float]
    origin_xyz_lps_mm: tuple[float, float, float]
    direction_zyx_lps: tuple[tuple[float, float, float], ...]


class NoduleRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A nodule in the world and on the output's grid; `label` is its value in the nodule mask."""

    label: int
    world_xyz_lps_mm: tuple[float, float, float]
    voxel_zyx: tuple[float, float, float]
    diameter_mm: float
    inside: bool


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
        shape_zyx=geometry.shape,
        spacing_zyx_mm=geometry.spacing,
        origin_xyz_lps_mm=geometry.origin,
        direction_zyx_lps=geometry.direction,
    )
