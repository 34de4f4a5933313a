"""The finished scans of a run, as training and the exports read them, and the list of what they leave out."""

from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

from hilum.errors import MissingInputError
from hilum.outputs import parts, records
from hilum.runs.run import AnyRun, open_run
from hilum.runs.run_scan import RunScan
from hilum.train.positions import nodule_spheres


class Skip(msgspec.Struct, frozen=True, kw_only=True):
    """What was left out, how many, and why; `nodule` is the label of a nodule, 0 for anything else."""

    scan: str
    code: str
    reason: str
    nodule: int = 0
    count: int = 1


class ListedScan(RunScan):
    """A finished scan, and descriptions of what is left out of it."""

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


def list_run(folder: AnyRun, *, fold_by: str = "fold") -> tuple[list[ListedScan], list[Skip]]:
    """List the finished scans of a run and name all others.

    Parameters
    ----------
    folder : str or path
        The output folder of ``hilum run``, or a `hilum.Run`.
    fold_by : str
        The label that is a scan's fold: ``fold``, or ``patient_fold`` if the data set knows patients. If the run has
        a ``folds.json``, it replaces these two labels.

    Returns
    -------
    scans : list of ListedScan
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
    run, scans, skipped = open_run(folder), list[ListedScan](), list[Skip]()
    for scan in (ListedScan(one.folder, one.row, one.run_folds, fold_by) for one in run):
        if scan.valid_record is not None:
            scans.append(scan)
        else:
            skipped.append(scan.skip("damaged-scan", "its scan.json is missing or damaged; run it again"))
    if not scans:
        raise MissingInputError("no finished scan here", where=run.folder, do="give the --out folder of 'hilum run'")
    scans[0].made_fold  # noqa: B018 - an error now if folds.json lacks a scan
    skipped += [Skip(scan=row.id, code=f"run-{row.status}", reason=row.code) for row in (*run.refused, *run.failed)]
    return scans, skipped
