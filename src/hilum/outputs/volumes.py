"""The volumes of a finished scan: their format, and reading them completely or in boxes."""

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
"""The other parts of a scan and their files."""


def format_of(record: ScanRecord, part: str = "ct") -> str:
    """Find the format in which a finished scan has one of `PARTS`: a key of `STORES`; empty without such a volume."""
    return next((name for name, store in STORES.items() if part + store.files[0] in record.files), "")


def missing_parts(record: ScanRecord) -> list[str]:
    """List the parts that a finished scan should have and does not have.

    Parameters
    ----------
    record : ScanRecord
        Its ``scan.json``. Old versions listed no parts; a ct is always required.

    Returns
    -------
    list of str
        Those of its ``parts`` with a file that is not in ``files``.
    """

    def is_there(part: str) -> bool:
        if part in EXTRA_PARTS:
            return record.files.keys() >= set(EXTRA_PARTS[part])
        name = format_of(record, part)
        return bool(name) and record.files.keys() >= {part + file for file in STORES[name].files}

    return [part for part in dict.fromkeys(("ct", *record.parts)) if not is_there(part)]


def read_stored(folder: Path, record: ScanRecord, part: str) -> Volume | None:
    """Read one volume of a finished scan, in its stored type.

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
        None if the scan has no such volume.

    Raises
    ------
    InputError
        If a file is missing or damaged, or the format needs a package that is not installed.
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
        As in `read_stored`.

    Returns
    -------
    OpenVolume or None
        None if the scan has no such volume. npy is memory-mapped, b2nd and zarr unpack the chunks of a box, and nifti
        is unpacked completely when it is opened.

    Raises
    ------
    InputError
        As in `read_stored`, and if the shape differs from ``scan.json``.
    """
    name = format_of(record, part)
    if not name:
        return None
    path = folder / (part + STORES[name].suffix)
    stored = STORES[name].open(path)
    if tuple(stored.shape) != record.geometry.shape:
        raise FormatError(
            f"has shape {tuple(stored.shape)}, but scan.json says {record.geometry.shape}", where=path, code="shape"
        )
    return stored
