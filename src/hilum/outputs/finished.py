"""The finished scans of a run, their records and their volumes.

A record comes from a folder that a stranger may have made. Names in it are checked when it is decoded, links are not
followed, and only regular files are opened.
"""

import hashlib
from contextlib import suppress
from pathlib import Path

import msgspec

from hilum.errors import FormatError, GeometryError, InputError
from hilum.io.files import read_small
from hilum.io.volumes import formats, open_volumes
from hilum.outputs import checksums, ledger, records
from hilum.volume import Mask, Volume

PARTS = ("ct", "lungs", "nodules")  # the volumes of a scan


EXTRA_PARTS: dict[str, tuple[str, ...]] = {
    "preview": ("preview.png", "preview.json"),
    "candidates": ("candidates.csv",),
    "excluded": ("excluded.csv",),
    "marks": ("marks.csv",),
    "few_readers": ("few_readers.csv",),
    "small": ("small.csv",),
    "non_nodules": ("non_nodules.csv",),
}
"""The other parts of a scan and their files."""

LABELS = "labels"  # the folder of a scan's label maps, which are parts named ``labels/NAME``

RECORD = "scan.json"

MAX_RECORD_BYTES = 1 << 26  # the largest ``scan.json`` that is read; one with a thousand nodules takes a megabyte


def format_of(record: records.ScanRecord, part: str = "ct") -> str:
    """Find the format, a key of `STORES`, in which a finished scan has one of `volume_parts`; empty if it has none."""
    return next((name for name, store in formats.STORES.items() if part + store.files[0] in record.files), "")


def volume_parts(record: records.ScanRecord) -> tuple[str, ...]:
    """Name all parts of a finished scan that are volumes: `PARTS` and its label maps."""
    return (*PARTS, *(f"{LABELS}/{name}" for name in record.label_maps))


def missing_parts(record: records.ScanRecord) -> list[str]:
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
        return bool(name) and record.files.keys() >= {part + file for file in formats.STORES[name].files}

    return [part for part in dict.fromkeys(("ct", *record.parts)) if not is_there(part)]


def read_stored(folder: Path, record: records.ScanRecord, part: str) -> Volume | None:
    """Read one volume of a finished scan, in its stored type, with the exact geometry of ``scan.json``.

    NIfTI stores the geometry in single precision.

    Parameters
    ----------
    folder : Path
        The scan's folder.
    record : ScanRecord
        Its ``scan.json``.
    part : str
        One of `volume_parts`.

    Returns
    -------
    Volume or None
        A `Mask` for all but the ct; None if the scan has no such volume.

    Raises
    ------
    InputError
        If a file is missing or damaged, its geometry differs from ``scan.json``, or the format needs a package that is
        not installed.
    """
    if not (name := format_of(record, part)):
        return None
    volume = formats.STORES[name].read(folder / (part + formats.STORES[name].suffix)).to_volume()
    grid = record.geometry.to_geometry()
    if not volume.geometry.isclose(grid):
        raise GeometryError(f"the geometry of its {part} differs from {RECORD}", where=folder, do=checksums.RERUN)
    return (Volume if part == "ct" else Mask)(volume.array, grid)


def open_stored(folder: Path, record: records.ScanRecord, part: str) -> open_volumes.OpenVolume | None:
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
    if not (name := format_of(record, part)):
        return None
    path = folder / (part + formats.STORES[name].suffix)
    stored = formats.STORES[name].open(path)
    if tuple(stored.shape) != record.geometry.shape:
        what = f"has shape {tuple(stored.shape)}, but scan.json says {record.geometry.shape}"
        raise FormatError(what, where=path, code="shape")
    return stored


def read_record(folder: Path) -> records.ScanRecord | None:
    """Read a finished scan's ``scan.json``; None if the folder is a link, or has no valid one (`decode_record`)."""
    return decode_record(_record_bytes(folder))


def record_sha256(folder: Path) -> str:
    """Hash the ``scan.json`` in a scan's folder: 64 hexadecimal digits; empty without one."""
    data = _record_bytes(folder)
    return hashlib.sha256(data).hexdigest() if data else ""


def _record_bytes(folder: Path) -> bytes:
    with suppress(OSError, ValueError):
        return b"" if folder.is_symlink() else read_small(folder / RECORD, limit=MAX_RECORD_BYTES)
    return b""


def decode_record(data: bytes) -> records.ScanRecord | None:
    """Decode the content of a ``scan.json``; None if it is malformed, or a part of the scan has no files."""
    with suppress(msgspec.DecodeError, UnicodeDecodeError):
        record = msgspec.json.decode(data, type=records.ScanRecord)
        return None if missing_parts(record) else record
    return None


def record_of_row(folder: Path, row: ledger.Row) -> records.ScanRecord | None:
    """Read the ``scan.json`` that a ledger row refers to; None if it is not valid, or its checksum is not the row's."""
    data = _record_bytes(folder)
    return decode_record(data) if hashlib.sha256(data).hexdigest() == row.scan_sha256 else None


def files_stamp(folder: Path, record: records.ScanRecord) -> str:
    """Hash the sizes and times of a finished scan's files; any write to one of them changes it.

    Returns
    -------
    str
        16 hexadecimal digits; empty if a file is missing.
    """
    digest = hashlib.sha256()
    with suppress(OSError):
        for name in sorted(record.files):
            status = (folder / name).lstat()
            digest.update(f"{name} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\n".encode())
        return digest.hexdigest()[:16]
    return ""


def check_files(folder: Path, record: records.ScanRecord, *, digest: bool = True) -> None:
    """Compare a finished scan's files with the sizes and checksums in its ``scan.json``.

    Parameters
    ----------
    folder : Path
        The scan's folder.
    record : ScanRecord
        What ``scan.json`` says.
    digest : bool
        Read all bytes. Otherwise only the sizes are compared, and the checksums of files that are newer than
        ``scan.json``, which is written last.

    Raises
    ------
    MissingInputError, FormatError
        If a file is missing, is a link, or has changed.
    """
    written = (folder / RECORD).stat().st_mtime_ns
    for name, file in record.files.items():
        checksums.check_file(folder, name, file, digest=digest or _is_newer(folder / name, written))


def is_intact(folder: Path, record: records.ScanRecord, *, digest: bool = True) -> bool:
    """Check that all files of a finished scan exist, and have their sizes and, with `digest`, their checksums."""
    with suppress(InputError):
        for name, file in record.files.items():
            checksums.check_file(folder, name, file, digest=digest)
        return True
    return False


def _is_newer(path: Path, time_ns: int) -> bool:
    with suppress(OSError):
        return path.stat().st_mtime_ns > time_ns
    return True


def scans_folder(out: Path) -> Path:
    """The folder of a run's scans.

    Parameters
    ----------
    out : Path
        The run's output folder.

    Returns
    -------
    Path
        It need not exist.

    Raises
    ------
    FormatError
        If it is a link: hilum makes none, and its target is not part of the run.
    """
    scans = out / "scans"
    if scans.is_symlink():
        raise FormatError("is a link, and hilum made none", where=scans, do="give the folder itself", code="link")
    return scans
