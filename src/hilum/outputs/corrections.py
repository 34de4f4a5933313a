"""Corrected masks beside a run: NIfTI files in ``corrections/``, and one line for each in ``corrections.csv``.

A correction never replaces the mask that it was made from, nor an earlier correction: each has a number of its own, and
the last line about a mask says which one counts.
"""

import csv
import hashlib
import io
import re
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from hilum.errors import FormatError, GeometryError, InputError, MissingInputError, one_line
from hilum.io import atomic, files
from hilum.io.annotations.csv_tables import plain_cell, safe_cells
from hilum.io.volumes import formats
from hilum.outputs.checksums import file_sha256
from hilum.outputs.finished import LABELS, format_of
from hilum.outputs.records import ScanRecord, is_plain_name
from hilum.volume import Mask

NAME = "corrections.csv"
FOLDER = "corrections"

SUFFIX = ".nii.gz"  # of a correction, whatever the format of the run

MAX_BYTES = 64 << 20  # the largest table that is read

_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOVE = "correct it, or move it away"


@dataclass(frozen=True)
class Correction:
    """A line of ``corrections.csv``: one saved correction of one mask.

    Parameters
    ----------
    scan_id : str
        The scan of the run.
    mask : str
        ``lungs``, ``nodules`` or ``labels/NAME``.
    file : str
        The corrected mask, relative to the run's folder.
    who : str
        Who saved it.
    when : str
        When: ISO 8601, UTC.
    original_sha256 : str
        Of the mask that was corrected, see `mask_sha256`.
    scan_sha256 : str
        SHA-256 of the ``scan.json`` of that time.
    sha256 : str
        SHA-256 of the file.
    """

    scan_id: str
    mask: str
    file: str
    who: str
    when: str
    original_sha256: str
    scan_sha256: str
    sha256: str


COLUMNS = tuple(one.name for one in fields(Correction))


def is_mask_name(mask: str) -> bool:
    """Whether a mask of a run can have this name: ``lungs``, ``nodules`` or ``labels/NAME``."""
    return mask in {"lungs", "nodules"} or (mask.startswith(f"{LABELS}/") and is_plain_name(mask, max_parts=2))


def file_of(scan_id: str, mask: str, number: int) -> str:
    """The file of a correction, relative to the run's folder."""
    return f"{FOLDER}/{scan_id}/{mask}-{number}{SUFFIX}"


def mask_sha256(record: ScanRecord, mask: str) -> str:
    """Name the content of a mask of a finished scan.

    Parameters
    ----------
    record : ScanRecord
        Its ``scan.json``.
    mask : str
        ``lungs``, ``nodules`` or ``labels/NAME``.

    Returns
    -------
    str
        The SHA-256 of the mask's file. Of a format with several files, that of their lines as ``sha256sum`` prints
        them, sorted by name. Empty if the scan has no such mask.
    """
    if not (name := format_of(record, mask)):
        return ""
    store = formats.STORES[name]
    own = {f"{mask}{suffix}" for suffix in store.files}
    names = sorted(one for one in record.files if one in own or one.startswith(f"{mask}{store.suffix}/"))
    if len(names) == 1:
        return record.files[names[0]].sha256
    return hashlib.sha256("".join(f"{record.files[one].sha256}  {one}\n" for one in names).encode()).hexdigest()


def read_corrections(run: Path) -> list[Correction]:
    """Read a run's table of corrections.

    Parameters
    ----------
    run : Path
        The run's folder.

    Returns
    -------
    list of Correction
        In the order in which they were saved; empty if there is no table.

    Raises
    ------
    FormatError
        If the table is damaged or was not written by hilum.
    """
    path = run / NAME
    try:
        raw = files.read_small(path, limit=MAX_BYTES)
    except MissingInputError:
        return []
    except InputError as problem:
        raise FormatError(problem.what, where=path, do=_MOVE) from None
    try:
        table = csv.reader(io.StringIO(raw.decode(), newline=""), strict=True)
        if tuple(next(table, ())) != COLUMNS:
            raise FormatError(f"its columns are not {', '.join(COLUMNS)}", where=path, do=_MOVE)
        return [_decode([plain_cell(cell) for cell in cells], path, table.line_num) for cells in table]
    except (UnicodeDecodeError, csv.Error) as problem:
        raise FormatError(f"cannot be read: {problem}", where=path, do=_MOVE) from None


def _decode(cells: list[str], path: Path, line: int) -> Correction:
    """Decode a line; every path and checksum in it must be one that hilum writes."""
    if len(cells) != len(COLUMNS):
        raise FormatError(f"line {line} has {len(cells)} cells instead of {len(COLUMNS)}", where=path, do=_MOVE)
    one = Correction(*cells)
    named = is_plain_name(one.scan_id) and is_mask_name(one.mask)
    start = f"{FOLDER}/{one.scan_id}/{one.mask}-"
    number = one.file.removeprefix(start).removesuffix(SUFFIX)
    if not named or not re.fullmatch(r"[1-9][0-9]{0,5}", number) or one.file != f"{start}{number}{SUFFIX}":
        raise FormatError(f"line {line} does not name a correction of a mask", where=path, do=_MOVE)
    if not all(map(_SHA256.fullmatch, (one.original_sha256, one.scan_sha256, one.sha256))):
        raise FormatError(f"line {line} has a checksum that is no SHA-256", where=path, do=_MOVE)
    return one


def newest(corrections: Iterable[Correction]) -> dict[tuple[str, str], Correction]:
    """The last correction of each mask, by scan id and mask."""
    return {(one.scan_id, one.mask): one for one in corrections}


def next_file(run: Path, scan_id: str, mask: str) -> str:
    """The name for a new correction: never that of a file that exists, nor of a line of the table."""
    taken = {one.file for one in read_corrections(run)}
    number = 1
    while (name := file_of(scan_id, mask, number)) in taken or (run / name).exists():
        number += 1
    return name


def append_correction(run: Path, correction: Correction) -> None:
    """Add a line to the table; the caller holds the lock. `OutputError` if it cannot be written."""
    lines = [*read_corrections(run), correction]
    with atomic.atomic_path(run / NAME) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        table.writerows(safe_cells(astuple(one)) for one in lines)


def read_corrected(run: Path, correction: Correction, record: ScanRecord) -> Mask:
    """Read a corrected mask.

    Parameters
    ----------
    run : Path
        The run's folder.
    correction : Correction
        From the run's table.
    record : ScanRecord
        The ``scan.json`` of its scan.

    Returns
    -------
    Mask
        On the grid of the run's scan.

    Raises
    ------
    InputError
        If the file is missing or changed since it was saved, or the mask that was corrected has changed.
    """
    path = run / correction.file
    if not files.is_own_file(run, correction.file):
        raise MissingInputError("is missing or not a regular file", where=path, do="restore it", code="correction")
    if file_sha256(path) != correction.sha256:
        what = "has changed since the correction was saved"
        raise FormatError(what, where=path, do="restore it, or correct the mask again", code="correction")
    check_original(run, correction, record)
    volume = formats.FORMATS[SUFFIX].read(path).to_volume()
    grid = record.geometry.to_geometry()
    if not volume.geometry.isclose(grid):
        raise GeometryError("does not lie on the grid of its scan", where=path, do="correct the mask again")
    return Mask(volume.array, grid)


def check_original(run: Path, correction: Correction, record: ScanRecord) -> None:
    """Refuse a correction of a mask that is not the run's any more."""
    if mask_sha256(record, correction.mask) != correction.original_sha256:
        who = one_line(correction.who, limit=100)
        what = f"is a correction by {who} of a mask that the run has replaced since"
        raise FormatError(what, where=run / correction.file, do="correct the new mask", code="original-changed")
