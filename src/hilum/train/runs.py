"""The finished output of a run, as training reads it: its scans, their folds, and every scan that cannot be used."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from hilum.errors import FormatError, MissingInputError, OutputError, one_line
from hilum.io.atomic import atomic_folder
from hilum.io.uids import is_uid
from hilum.outputs.finished import check_files as _check_files
from hilum.outputs.finished import look_up_scans
from hilum.outputs.ledger import read_ledger
from hilum.outputs.records import is_annotated
from hilum.scan import Nodule

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from hilum.geometry import Geometry
    from hilum.outputs.records import ScanRecord

SUMMARY = "summary.json"
"""What every output folder of this room holds, and by which it is known for one."""


@dataclass(frozen=True)
class RunScan:
    """A finished scan: its folder, its ``scan.json``, and the fold that a data set gave it (empty where none did)."""

    folder: Path
    record: ScanRecord
    fold: str = ""

    @property
    def uid(self) -> str:
        """The series UID; empty where the scan is known by another name, which may be anything."""
        return self.record.series_uid if is_uid(self.record.series_uid) else ""

    @cached_property
    def geometry(self) -> Geometry:
        """The grid of its volumes."""
        return self.record.geometry.to_geometry()

    @property
    def nodules(self) -> tuple[Nodule, ...]:
        """Its nodules, as spheres, in the order of their labels."""
        return tuple(Nodule(one.world, one.diameter_mm) for one in self.record.nodules)

    def diameter_mm(self, label: int) -> float:
        """The diameter of the nodule of a label."""
        return next(one.diameter_mm for one in self.record.nodules if one.label == label)

    @property
    def annotated(self) -> bool:
        """Whether somebody looked for nodules in it."""
        return is_annotated(self.record)


class Skip(msgspec.Struct, frozen=True, kw_only=True):
    """What was left out, how many of it, and why; `nodule` is its label where it is one."""

    scan: str
    code: str
    reason: str
    nodule: int = 0
    count: int = 1


def list_run(folder: Path, *, fold_by: str = "fold") -> tuple[list[RunScan], list[Skip]]:
    """List the finished scans of a run, and name every other.

    Parameters
    ----------
    folder : Path
        The output folder of ``hilum run``.
    fold_by : str
        Which of a scan's labels is its fold: ``fold``, or ``patient_fold`` where a data set tells patients apart.

    Returns
    -------
    scans : list of RunScan
        In the order of their ids.
    skipped : list of Skip
        Scans that the run refused or that failed, by the ledger, and folders without a readable ``scan.json``.

    Raises
    ------
    MissingInputError
        If no scan is finished.
    """
    scans, skipped = [], []
    for path, record in look_up_scans(folder):
        if record is None:
            reason = "its scan.json is absent or damaged; run it again"
            skipped.append(Skip(scan=one_line(path.name, limit=80), code="damaged-scan", reason=reason))
        else:
            scans.append(RunScan(folder=path, record=record, fold=_fold(record, fold_by)))
    if not scans:
        raise MissingInputError("no finished scan here", where=folder, do="give the --out folder of 'hilum run'")
    there = {path.folder.name for path in scans} | {skip.scan for skip in skipped}
    skipped += [
        Skip(scan=row.id, code=f"run-{row.status}", reason=row.code)
        for row in read_ledger(folder).values()
        if row.id not in there and row.status in {"refused", "failed"}
    ]
    return scans, skipped


def no_nodules(scan: RunScan) -> Skip:
    """Say why a scan gives no nodule: there is none, or nobody looked.

    Parameters
    ----------
    scan : RunScan

    Returns
    -------
    Skip
    """
    name = scan.record.scan_id
    if scan.annotated:
        return Skip(scan=name, code="no-nodules", reason="no nodule is known in it")
    return Skip(scan=name, code="not-annotated", reason="nobody looked for nodules: it was run without annotations")


def check_files(scan: RunScan, *, digest: bool = True) -> None:
    """Hold a finished scan's files against the sizes and checksums of its ``scan.json``.

    Parameters
    ----------
    scan : RunScan
    digest : bool
        Whether all their bytes are read; without it their sizes are looked at, and the bytes of files that are newer
        than ``scan.json``, which is written last.

    Raises
    ------
    MissingInputError, FormatError
        If a file is gone or is not what was written.
    """
    _check_files(scan.folder, scan.record, digest=digest)


def map_array(path: Path) -> NDArray[Any]:
    """Map a .npy file into memory, to read of it what is asked for.

    Parameters
    ----------
    path : Path

    Returns
    -------
    ndarray
        Read-only.

    Raises
    ------
    FormatError
        If it is gone or no array.
    """
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as problem:
        raise FormatError(f"cannot be mapped: {one_line(problem, limit=80)}", where=path, do="make it again") from None
    return array


@contextmanager
def output_folder(out: Path, *, run: Path, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary folder that becomes `out` when the block ends well, and never replaces what is not ours.

    Parameters
    ----------
    out : Path
    run : Path
        The finished run: nothing is put among its scans.
    overwrite : bool
        Whether an earlier output, known by its `SUMMARY`, is replaced.

    Yields
    ------
    Path
        An empty folder.

    Raises
    ------
    OutputError
        If `out` is in use, or the file system refuses.
    """
    if out.resolve().is_relative_to((run / "scans").resolve()):
        raise OutputError("lies among the scans of the run", where=out, do="choose another --out", code="exists")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not (out / SUMMARY).is_file():
            raise OutputError("is in use by something else", where=out, do="choose another --out", code="exists")
        if not overwrite:
            raise OutputError("holds an earlier result", where=out, do="give --overwrite", code="exists")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        reason = problem.strerror or str(problem)
        raise OutputError(f"cannot be written: {reason}", where=out, do="choose another --out") from None
    with atomic_folder(out) as partial:
        yield partial


def _fold(record: ScanRecord, name: str) -> str:
    fold = record.labels.get(name, "")
    return one_line(fold, limit=32) if isinstance(fold, str | int) else ""
