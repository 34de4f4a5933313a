"""Convert a finished scan to another format: the same voxels and geometry, with a new ``scan.json``."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import msgspec

from hilum.errors import GeometryError, OutputError
from hilum.io.atomic import atomic_folder
from hilum.io.scan_files import write
from hilum.io.volumes.formats import STORES
from hilum.outputs.checksums import RERUN
from hilum.outputs.finished import check_files
from hilum.outputs.nodule_records import with_round_trips
from hilum.outputs.store import WrittenFiles
from hilum.outputs.volumes import PARTS, format_of, read_stored
from hilum.volume import Mask, Volume

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hilum.outputs.records import ScanRecord


def convert_scan(
    folder: Path,
    record: ScanRecord,
    scans: Path,
    *,
    file_format: str,
    recipe_sha256: str,
    before_publish: Callable[[], None] = lambda: None,
) -> ScanRecord:
    """Write a finished scan in another format, completely or not at all.

    Parameters
    ----------
    folder, record
        As in `hilum.outputs.volumes.read_stored`.
    scans : Path
        The folder for the new scan's folder, which gets the same name and replaces an existing one.
    file_format : str
        A key of `hilum.io.volumes.formats.STORES`.
    recipe_sha256 : str
        Of the recipe with this format.
    before_publish : callable
        As in `hilum.outputs.store.store_scan`.

    Returns
    -------
    ScanRecord
        The content of the new ``scan.json``.

    Raises
    ------
    InputError
        If a file does not match its checksum, or its geometry differs from ``scan.json``.
    OutputError
        If the new folder cannot be written, or its volumes differ when they are read back.
    """
    check_files(folder, record)
    suffix = STORES[file_format].suffix
    written = {}
    with atomic_folder(scans / folder.name) as partial:
        files = WrittenFiles(partial)
        for part in PARTS:
            if (volume := _read(folder, record, part)) is not None:
                written[part] = volume
                write(volume, partial / (part + suffix), series_uid=record.series_uid)
        for name in record.files:
            if not _is_volume_file(name, record):
                shutil.copyfile(folder / name, partial / name)
        files.add()
        new = msgspec.structs.replace(
            record,
            recipe_sha256=recipe_sha256,
            nodules=with_round_trips(record.nodules, spacing=record.geometry.spacing, stored=partial / ("ct" + suffix)),
            files=files.records,
        )
        for part, volume in written.items():
            copy = read_stored(partial, new, part)
            if copy is None or copy.array.dtype != volume.array.dtype or (copy.array != volume.array).any():
                raise OutputError(f"{part} differs when it is read back", where=scans / folder.name)
            _check_geometry(copy, record, scans / folder.name)
        files.finish(new)
        before_publish()
    return new


def _read(folder: Path, record: ScanRecord, part: str) -> Volume | None:
    """Read a volume, with the exact geometry of ``scan.json``: NIfTI stores it in single precision."""
    volume = read_stored(folder, record, part)
    if volume is None:
        return None
    _check_geometry(volume, record, folder)
    return (Volume if part == "ct" else Mask)(volume.array, record.geometry.to_geometry())


def _check_geometry(volume: Volume, record: ScanRecord, where: Path) -> None:
    if not volume.geometry.isclose(record.geometry.to_geometry()):
        raise GeometryError("the geometry of a volume differs from scan.json", where=where, do=RERUN)


def _is_volume_file(name: str, record: ScanRecord) -> bool:
    """Check whether a file is part of a volume; zarr volumes are folders."""
    formats = [(part, format_of(record, part)) for part in PARTS]
    return any(
        name.startswith(f"{part}{STORES[stored].suffix}/") or name in {part + file for file in STORES[stored].files}
        for part, stored in formats
        if stored
    )
