"""The volumes of a finished scan: in which format each is stored, read whole or opened to read boxes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hilum.errors import FormatError
from hilum.io.volumes.formats import STORES

if TYPE_CHECKING:
    from pathlib import Path

    from hilum.io.volumes.open_volumes import OpenVolume
    from hilum.outputs.records import ScanRecord
    from hilum.volume import Volume

PARTS = ("ct", "lungs", "nodules")
"""The volumes of a scan."""


EXTRA_PARTS: dict[str, tuple[str, ...]] = {
    "preview": ("preview.png", "preview.json"),
    "candidates": ("candidates.csv",),
    "excluded": ("excluded.csv",),
}
"""What a scan has besides its volumes, and the files of each."""


def format_of(record: ScanRecord, part: str = "ct") -> str:
    """In which format a finished scan has one of its volumes.

    Parameters
    ----------
    record : ScanRecord
        Its ``scan.json``.
    part : str
        One of `PARTS`.

    Returns
    -------
    str
        A key of `STORES`; empty where it has no such volume.
    """
    return next((name for name, store in STORES.items() if part + store.files[0] in record.files), "")


def missing_parts(record: ScanRecord) -> list[str]:
    """Tell what a finished scan lacks of what its recipe promised.

    Parameters
    ----------
    record : ScanRecord
        Its ``scan.json``; one of an older version says of no part that it was promised, and has a ct all the same.

    Returns
    -------
    list of str
        Those of its ``parts`` of which a file is not in ``files``.
    """

    def is_there(part: str) -> bool:
        if part in EXTRA_PARTS:
            return record.files.keys() >= set(EXTRA_PARTS[part])
        held = format_of(record, part)
        return bool(held) and record.files.keys() >= {part + file for file in STORES[held].files}

    return [part for part in dict.fromkeys(("ct", *record.parts)) if not is_there(part)]


def read_stored(folder: Path, record: ScanRecord, part: str) -> Volume | None:
    """Read one volume of a finished scan, with the type it was stored in.

    Parameters
    ----------
    folder : Path
        The scan's folder.
    record : ScanRecord
        Its ``scan.json``.
    part : str
        One of `PARTS`.

    Returns
    -------
    Volume or None
        None where the scan has no such volume.

    Raises
    ------
    InputError
        If a file is missing or damaged, or a package is not installed that its format needs.
    """
    name = format_of(record, part)
    if not name:
        return None
    return STORES[name].read(folder / (part + STORES[name].suffix)).to_volume()


def open_stored(folder: Path, record: ScanRecord, part: str) -> OpenVolume | None:
    """Open one volume of a finished scan, to read boxes of it.

    Parameters
    ----------
    folder, record, part
        As `read_stored` takes them.

    Returns
    -------
    OpenVolume or None
        None where the scan has no such volume. npy is memory-mapped; of b2nd and zarr the chunks of a box are
        unpacked; nifti is unpacked whole, here.

    Raises
    ------
    InputError
        As `read_stored`; and if the volume has not the shape that ``scan.json`` says.
    """
    name = format_of(record, part)
    if not name:
        return None
    path = folder / (part + STORES[name].suffix)
    stored = STORES[name].open(path)
    if tuple(stored.shape) != record.geometry.shape:
        raise FormatError(f"has shape {tuple(stored.shape)}, not that of scan.json", where=path, code="shape")
    return stored
