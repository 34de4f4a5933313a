"""What a rerun would remove from finished scans, and the removal of rows and folders without a scan."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from hilum.errors import OutputError
from hilum.io.atomic import write_refused
from hilum.io.unfinished import is_unfinished
from hilum.outputs.finished import RECORD, read_record, scans_folder
from hilum.outputs.records import is_annotated
from hilum.scan import DatasetEntry

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from hilum.outputs.ledger import Ledger
    from hilum.outputs.records import ScanRecord
    from hilum.scan import ScanRef


def check_removals(out: Path, ledger: Ledger, refs: Sequence[ScanRef]) -> None:
    """Refuse a run that would remove nodules, labels or findings from finished scans.

    Parameters
    ----------
    out : Path
        The run's output folder.
    ledger : Ledger
    refs : sequence of ScanRef
        The scans that would be made again.

    Raises
    ------
    OutputError
        If one of them has something that the new result would not have.
    """
    scans = scans_folder(out)
    removed: Counter[str] = Counter()
    for ref in refs:
        if ledger.is_finished(ref.scan_id) and (record := read_record(scans / ref.scan_id)):
            removed.update(_removed(record, ref))
    if removed:
        worst = removed.most_common(4)
        what = ", ".join(f"the {name} of {count} scan{'s' if count > 1 else ''}" for name, count in worst)
        do = "give --annotations and --dataset as before, or --overwrite to remove them"
        raise OutputError(f"this run would remove {what}", where=out, do=do, code="would-remove")


def _removed(record: ScanRecord, ref: ScanRef) -> list[str]:
    """Name what a finished scan has and a new result would not have."""
    known = ref.known or DatasetEntry()
    names = ["nodules"] if is_annotated(record) and ref.annotations is None and not known.annotated else []
    names += [kind for kind in ("candidates", "excluded") if kind in record.parts and kind not in known.locations]
    return names + [f"label {name}" for name in sorted(record.labels.keys() - known.labels.keys())]


class PruneCounts(NamedTuple):
    """The numbers of removed rows and folders."""

    rows: int
    folders: int


def prune(out: Path, ledger: Ledger, *, keep: Collection[str]) -> PruneCounts:
    """Remove rows and folders that belong neither to a finished scan nor to an input of this run.

    Rows are removed if the scan was refused or failed in an earlier run and is not an input now, or if its folder is
    missing. Folders are removed if the ledger does not call their scan finished. Files not from hilum remain.

    Parameters
    ----------
    out : Path
        The run's output folder, locked by this run.
    ledger : Ledger
        The caller has to compact it afterwards.
    keep : collection of str
        The ids of this run's inputs; their rows remain.

    Returns
    -------
    PruneCounts

    Raises
    ------
    OutputError
        If a folder cannot be removed.
    """
    scans = scans_folder(out)
    rows = [row.id for row in ledger.rows() if row.id not in keep]
    rows = [name for name in rows if not ledger.is_finished(name) or not (scans / name).is_dir()]
    for name in rows:
        ledger.drop(name)
    folders = [path for path in sorted(scans.iterdir()) if not is_unfinished(path.name)]
    folders = [path for path in folders if (path / RECORD).is_file() and not path.is_symlink()]
    folders = [path for path in folders if not ledger.is_finished(path.name)]
    for path in folders:
        try:
            shutil.rmtree(path)
        except OSError as problem:
            raise write_refused("", problem, where=path) from None
    return PruneCounts(len(rows), len(folders))
