"""What a detector found in the scans of a run, for the page: its FROC curve, and hits and misses of each scan."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hilum.errors import AnnotationError
from hilum.io.annotations.detections import PointTables, read_detections, read_series
from hilum.io.names import hashed_uid, is_uid
from hilum.ops.froc import Froc, find_hits, froc
from hilum.ops.mark_axes import explain_misses
from hilum.outputs.records import is_annotated
from hilum.runs.run_scan import RunScan
from hilum.scan import Note

BOOTSTRAP = 1000
OPERATING_RATE = 1.0  # false positives a scan at which the table of scans counts


@dataclass(frozen=True)
class ScanDetections:
    """A scan at the operating point: its nodules, those that were hit, and the marks that hit nothing."""

    scan_id: str
    nodules: int
    hits: int
    false_positives: int
    missed_mm: tuple[float, ...]

    @property
    def misses(self) -> int:
        """Nodules that no mark hits."""
        return self.nodules - self.hits


@dataclass(frozen=True, eq=False)
class RunDetections:
    """The score of a run's scans, and each at the operating point.

    Parameters
    ----------
    score : Froc
        With bootstrap intervals.
    threshold : float
        The least probability of a mark that counts in `scans`.
    scans : tuple of ScanDetections
        Those with most misses first, then those with most false positives.
    notes : tuple of Note
        About the table.
    not_annotated : int
        The number of finished scans without annotations, which do not count.
    """

    score: Froc
    threshold: float
    scans: tuple[ScanDetections, ...]
    notes: tuple[Note, ...]
    not_annotated: int


def score_run(table: Path, scans: Iterable[RunScan], *, listed: Path | None = None) -> RunDetections:
    """Score a detector's marks on the finished, annotated scans of a run, by the rules of `hilum.froc`.

    Parameters
    ----------
    table : Path
        As `hilum.io.annotations.detections.read_detections` takes it.
    scans : iterable of RunScan
        The finished scans. Those without annotations do not count.
    listed : Path, optional
        The series that the detector searched; by default all.

    Returns
    -------
    RunDetections

    Raises
    ------
    AnnotationError
        If the table cannot be used, no scan is annotated, or no mark is in a scan of the run.
    InputError
        If the annotated scans have no nodule.
    """
    found = read_detections(table)
    finished = [scan for scan in scans if scan.valid_record is not None]
    names = set(read_series(listed)[0]) if listed else set()
    hashes = {hashed_uid(name): name for name in {*found.tables, *names} if is_uid(name)}
    if names:
        finished = [scan for scan in finished if names & {*_names(scan, hashes)}]
    if listed and not finished:
        raise AnnotationError("lists no scan of the run", where=listed, do="check the series UIDs", code="no-row-fits")
    known = [scan for scan in finished if is_annotated(scan.record)]
    if not known:
        what = "no scan of the run has annotations, so no mark can hit a nodule"
        raise AnnotationError(what, where=table, do="run it with --annotations", code="not-annotated")
    marks = {scan.scan_id: _rows(found, hashes, scan) for scan in known}
    if found.tables and not any(map(len, marks.values())):
        what = "no detection is in a scan of the run that has annotations"
        raise AnnotationError(what, where=table, do="check the series UIDs", code="no-row-fits")
    nodules = {
        scan.scan_id: np.array([[*one.center, one.diameter_mm] for one in scan.nodules]).reshape(-1, 4)
        for scan in known
    }
    excluded = {scan.scan_id: scan.locations.get("excluded", np.empty((0, 4))) for scan in known}
    score = froc(marks, nodules, list(marks), excluded=excluded, bootstrap=BOOTSTRAP)
    notes = [*found.notes]
    if not score.found and (why := explain_misses(marks, nodules)):
        notes.append(Note("wrong-axes", why))
    threshold = operating_threshold(score)
    rows = []
    for name, spheres in nodules.items():
        hit, false = find_hits(marks[name], spheres, excluded=excluded[name], threshold=threshold)
        missed = tuple(sorted(spheres[~hit, 3].tolist(), reverse=True))
        rows.append(ScanDetections(name, len(hit), int(np.count_nonzero(hit)), false, missed))
    rows.sort(key=lambda row: (-row.misses, -row.false_positives, row.scan_id))
    return RunDetections(score, threshold, tuple(rows), tuple(notes), len(finished) - len(known))


def operating_threshold(score: Froc) -> float:
    """The least probability with at most `OPERATING_RATE` false positives a scan, or the highest one."""
    fitting = score.curve[score.curve[:, 0] <= OPERATING_RATE, 2]
    return float(fitting[-1] if len(fitting) > 1 else score.curve[min(1, len(score.curve) - 1), 2])


def _rows(found: PointTables, hashes: dict[str, str], scan: RunScan) -> NDArray[np.float64]:
    names = _names(scan, hashes)
    return next((found.tables[name] for name in names if name in found.tables), np.empty((0, 4)))


def _names(scan: RunScan, hashes: dict[str, str]) -> tuple[str, str, str]:
    """What tables call a scan: by its series UID, also if the run hides it, or by its id."""
    uid = scan.record.series_uid
    return uid, hashes.get(uid, uid), scan.scan_id
