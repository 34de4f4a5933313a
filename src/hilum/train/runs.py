"""The finished scans of a run, as training and the exports read them, and the list of what they leave out."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from hilum.errors import InputError, MissingInputError, one_line
from hilum.geometry import Geometry
from hilum.io.names import is_uid
from hilum.io.volumes.open_volumes import OpenVolume
from hilum.outputs import finished, folds, ledger, parts, records
from hilum.scan import Nodule
from hilum.train.positions import nodule_spheres
from hilum.volume import Volume


class Skip(msgspec.Struct, frozen=True, kw_only=True):
    """What was left out, how many, and why; `nodule` is the label of a nodule, 0 for anything else."""

    scan: str
    code: str
    reason: str
    nodule: int = 0
    count: int = 1


@dataclass(frozen=True)
class RunScan:
    """A finished scan of a run: its folder, its ``scan.json``, its fold, and the one in ``folds.json``, if any."""

    folder: Path
    record: records.ScanRecord
    fold: str = ""
    made_fold: str = ""

    @property
    def scan_id(self) -> str:
        """The name of the scan in its run."""
        return self.record.scan_id

    @property
    def uid(self) -> str:
        """The series UID; empty if the record has another name in its place."""
        return self.record.series_uid if is_uid(self.record.series_uid) else ""

    @property
    def patient_fold(self) -> str:
        """The fold in ``folds.json``, or the label ``patient_fold``, or the label ``fold``; empty without all."""
        labels = self.record.labels
        return self.made_fold or str(labels.get("patient_fold", labels.get("fold", "")))

    @cached_property
    def geometry(self) -> Geometry:
        """The grid of the stored volumes."""
        return self.record.geometry.to_geometry()

    @property
    def label_maps(self) -> dict[str, records.LabelMapRecord]:
        """The values and volumes of its label maps, by name; `read` and `open` take ``labels/NAME``."""
        return self.record.label_maps

    @property
    def nodules(self) -> tuple[Nodule, ...]:
        """The nodules as spheres, in the order of their labels."""
        return tuple(Nodule(one.world, one.diameter_mm) for one in self.record.nodules)

    @property
    def nodules_inside(self) -> list[records.NoduleRecord]:
        """The nodules whose centers are inside the stored volumes."""
        return [one for one in self.record.nodules if one.inside]

    @cached_property
    def nodule_spheres(self) -> NDArray[np.float64]:
        """Center (x, y, z), LPS mm, and diameter, mm, of each nodule, also of those that too few readers outlined."""
        few = parts.read_locations(self.folder, self.record, ("few_readers",)).values()
        return np.concatenate([nodule_spheres(self.record.nodules), *few])

    def diameter_mm(self, label: int) -> float:
        """Look up the diameter of a nodule by its label."""
        return next(one.diameter_mm for one in self.record.nodules if one.label == label)

    @property
    def annotated(self) -> bool:
        """Whether the run had annotations of this scan, even if they list no nodule."""
        return records.is_annotated(self.record)

    def format_of(self, part: str = "ct") -> str:
        """Name the format of a stored volume; empty if the scan does not have it."""
        return finished.format_of(self.record, part)

    def read(self, part: str) -> Volume | None:
        """Read a stored volume; None if the scan does not have it."""
        return finished.read_stored(self.folder, self.record, part)

    def open(self, part: str) -> OpenVolume | None:
        """Open a stored volume to read boxes of it; None if the scan does not have it."""
        return finished.open_stored(self.folder, self.record, part)

    def check_files(self, *, digest: bool = True) -> None:
        """Check the files as `hilum.outputs.finished.check_files` does."""
        finished.check_files(self.folder, self.record, digest=digest)

    def skip(self, code: str, reason: str, *, nodule: int = 0, count: int = 1) -> Skip:
        """Describe something of this scan that is left out."""
        return Skip(scan=self.scan_id, code=code, reason=reason, nodule=nodule, count=count)

    def skip_without_nodules(self) -> Skip:
        """Describe why the scan as a whole gives no nodule."""
        if self.annotated:
            return self.skip("no-nodules", "it has no annotated nodule")
        return self.skip("not-annotated", "it was run without annotations")

    def skip_nodules_outside(self, code: str) -> list[Skip]:
        """Describe each nodule whose center is outside the stored volume."""
        reason = "its center is outside the scan"
        return [self.skip(code, reason, nodule=one.label) for one in self.record.nodules if not one.inside]


def list_run(folder: Path, *, fold_by: str = "fold") -> tuple[list[RunScan], list[Skip]]:
    """List the finished scans of a run and name all others.

    Parameters
    ----------
    folder : Path
        The output folder of ``hilum run``.
    fold_by : str
        The label that is a scan's fold: ``fold``, or ``patient_fold`` if the data set knows patients. If the run has
        a ``folds.json``, it replaces these two labels.

    Returns
    -------
    scans : list of RunScan
        In the order of their ids.
    skipped : list of Skip
        Scans that the run refused or that failed, and folders without a readable ``scan.json``.

    Raises
    ------
    MissingInputError
        If no scan is finished.
    InputError
        If ``folds.json`` is malformed, or lacks a finished scan.
    """
    scans, skipped = [], []
    made = folds.read_folds(folder)
    for path, record in finished.listed_scans(folder):
        if record is None:
            reason = "its scan.json is missing or damaged; run it again"
            skipped.append(Skip(scan=one_line(path.name, limit=80), code="damaged-scan", reason=reason))
        else:
            listed = made.scans.get(path.name) if made is not None else None
            made_fold = "" if listed is None else str(listed.fold)
            fold = made_fold if made_fold and fold_by in folds.LABELS else record.labels.get(fold_by, "")
            text = one_line(fold, limit=32) if isinstance(fold, str | int) else ""
            scans.append(RunScan(path, record, text, made_fold))
    if not scans:
        raise MissingInputError("no finished scan here", where=folder, do="give the --out folder of 'hilum run'")
    if made is not None and (without := [scan.scan_id for scan in scans if not scan.made_fold]):
        what = f"has no fold for {len(without)} of {len(scans)} finished scans, such as {without[0]}"
        raise InputError(what, where=folder / folds.NAME, do=folds.AGAIN, code="folds")
    known = {scan.folder.name for scan in scans} | {skip.scan for skip in skipped}
    skipped += [
        Skip(scan=row.id, code=f"run-{row.status}", reason=row.code)
        for row in ledger.read_ledger(folder).values()
        if row.id not in known and row.status in {"refused", "failed"}
    ]
    return scans, skipped
