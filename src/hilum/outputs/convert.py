"""A finished scan in another store: the same voxels in the same place, under a ``scan.json`` of its own."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import msgspec

from hilum.errors import GeometryError, OutputError
from hilum.io.atomic import atomic_folder
from hilum.io.scan_files import write
from hilum.io.volumes.formats import STORES
from hilum.outputs.finished import check_files
from hilum.outputs.nodule_records import landed_again
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
    before: Callable[[], None] = lambda: None,
) -> ScanRecord:
    """Write a finished scan again in another format, all of it or nothing.

    Parameters
    ----------
    folder : Path
        The scan's folder.
    record : ScanRecord
        Its ``scan.json``.
    scans : Path
        Where the new folder appears, under the same name; one that is there is replaced.
    file_format : str
        A key of `hilum.io.volumes.formats.STORES`.
    recipe_sha256 : str
        Of the recipe with this format.
    before : callable
        As `hilum.outputs.store.store_scan` takes it.

    Returns
    -------
    ScanRecord
        What the new ``scan.json`` holds.

    Raises
    ------
    InputError
        If a file is not what its checksum says, or lies elsewhere than ``scan.json`` says.
    OutputError
        If the new folder cannot be written, or does not hold the same when it is read again.
    """
    check_files(folder, record)
    suffix = STORES[file_format].suffix
    written = {}
    with atomic_folder(scans / folder.name) as partial:
        seen = WrittenFiles(partial)
        for part in PARTS:
            if (volume := _read(folder, record, part)) is not None:
                written[part] = volume
                write(volume, partial / (part + suffix), series_uid=record.series_uid)
        for name in record.files:
            if not _is_of_volumes(name, record):
                shutil.copyfile(folder / name, partial / name)
        seen.add()
        new = msgspec.structs.replace(
            record,
            recipe_sha256=recipe_sha256,
            nodules=landed_again(record, stored=partial / ("ct" + suffix)),
            files=seen.files,
        )
        for part, volume in written.items():
            again = read_stored(partial, new, part)
            if again is None or again.array.dtype != volume.array.dtype or (again.array != volume.array).any():
                raise OutputError(f"{part} is not the same when it is read again", where=scans / folder.name)
            _check_place(again, record, scans / folder.name)
        seen.finish(new)
        before()
    return new


def _read(folder: Path, record: ScanRecord, part: str) -> Volume | None:
    """A volume on the very grid of ``scan.json``: NIfTI keeps it in single precision."""
    volume = read_stored(folder, record, part)
    if volume is None:
        return None
    _check_place(volume, record, folder)
    return (Volume if part == "ct" else Mask)(volume.array, record.geometry.to_geometry())


def _check_place(volume: Volume, record: ScanRecord, where: Path) -> None:
    if not volume.geometry.isclose(record.geometry.to_geometry()):
        raise GeometryError("a volume does not lie where scan.json says", where=where, do="run the scan again")


def _is_of_volumes(name: str, record: ScanRecord) -> bool:
    """Whether a file belongs to a volume, not to the scan."""
    for part in PARTS:
        held = format_of(record, part)
        beside = {part + ".json"} if held == "npy" else set()
        if held and (name.split("/", maxsplit=1)[0] == part + STORES[held].suffix or name in beside):
            return True
    return False
