"""A run's books: what a rerun would take away from finished scans, and what belongs to no scan any more."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from hilum.errors import OutputError
from hilum.io.atomic import write_refused
from hilum.io.unfinished import is_unfinished
from hilum.outputs.finished import RECORD, read_record, scans_folder
from hilum.outputs.ledger_rows import FINISHED
from hilum.outputs.records import is_annotated
from hilum.scan import DatasetEntry

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from hilum.outputs.ledger import Ledger
    from hilum.outputs.records import ScanRecord
    from hilum.scan import ScanRef


def check_removals(out: Path, book: Ledger, refs: Sequence[ScanRef]) -> None:
    """Refuse a run that would take nodules, labels or findings away from finished scans.

    Parameters
    ----------
    out : Path
        The run's output folder.
    book : Ledger
    refs : sequence of ScanRef
        The scans that would be made anew.

    Raises
    ------
    OutputError
        If one of them has something that the new result would lack.
    """
    scans = scans_folder(out)
    lost: Counter[str] = Counter()
    for ref in refs:
        row = book.get(ref.scan_id)
        record = read_record(scans / ref.scan_id) if row is not None and row.status in FINISHED else None
        if record is not None:
            lost.update(_lost(record, ref))
    if lost:
        what = ", ".join(f"the {name} of {count} scan{'s' if count > 1 else ''}" for name, count in lost.most_common(4))
        do = "give --annotations and --dataset as before, or --overwrite to remove them"
        raise OutputError(f"this run would remove {what}", where=out, do=do, code="would-remove")


def _lost(record: ScanRecord, ref: ScanRef) -> list[str]:
    """What a finished scan has and a new result would lack."""
    known = ref.known or DatasetEntry()
    gone = ["nodules"] if is_annotated(record) and ref.annotations is None and not known.annotated else []
    gone += [kind for kind in ("candidates", "excluded") if kind in record.parts and kind not in known.locations]
    return gone + [f"label {name}" for name in sorted(record.labels.keys() - known.labels.keys())]


class PruneCounts(NamedTuple):
    """How many lines of the ledger and how many folders of scans were removed."""

    rows: int
    folders: int


def prune(out: Path, book: Ledger, *, keep: Collection[str]) -> PruneCounts:
    """Remove what belongs to no finished scan and to no scan of this run; no finished scan is touched.

    Lines go of scans that were refused or failed in an earlier run and are no input now, and of finished ones whose
    folder is gone. Folders go of scans that the ledger does not call finished. What hilum did not write stays.

    Parameters
    ----------
    out : Path
        The run's output folder, held by this run.
    book : Ledger
        It is to be compacted afterwards.
    keep : collection of str
        The ids of this run's inputs, whose lines stay.

    Returns
    -------
    PruneCounts

    Raises
    ------
    OutputError
        If a folder cannot be removed.
    """
    scans = scans_folder(out)
    rows = [row.id for row in book.rows() if row.id not in keep]
    rows = [name for name in rows if not _is_finished(book, name) or not (scans / name).is_dir()]
    for name in rows:
        book.drop(name)
    folders = [path for path in sorted(scans.iterdir()) if not is_unfinished(path.name)]
    folders = [path for path in folders if (path / RECORD).is_file() and not path.is_symlink()]
    folders = [path for path in folders if not _is_finished(book, path.name)]
    for path in folders:
        try:
            shutil.rmtree(path)
        except OSError as problem:
            raise write_refused("", problem, where=path) from None
    return PruneCounts(len(rows), len(folders))


def _is_finished(book: Ledger, scan_id: str) -> bool:
    row = book.get(scan_id)
    return row is not None and row.status in FINISHED
