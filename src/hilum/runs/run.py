"""A run of many scans, opened by reading its ledger alone."""

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import SupportsIndex, get_args

from hilum.errors import InputError, InputTypeError, MissingInputError, UnknownScanError, name_some, name_type
from hilum.io.files import as_path
from hilum.io.folders import RECIPE
from hilum.io.unfinished import is_unfinished
from hilum.outputs import finished, ledger
from hilum.outputs.folder import recipe_text
from hilum.outputs.folds import FoldsFile
from hilum.recipes import Recipe, parse_recipe
from hilum.runs.run_scan import RunScan
from hilum.runs.table import RunTable, make_table

AnyRun = str | PathLike[str]  # a run, or the path of its folder: a `Run` is a path, too


@dataclass(frozen=True, eq=False)
class Run:
    """The output of ``hilum run``: what `hilum.open_run` returns.

    A loop gives the finished scans in the order of their ids, each as a `RunScan` that reads its volumes when they are
    asked for. ``len(run)`` counts them, ``run["ID"]`` finds one, also by its number (``run[0]``), and ``"ID" in run``
    tells whether it is finished.

    The run is as its ledger was when it was opened. Open it again to see scans that were finished since.

    Parameters
    ----------
    folder : Path
        The run's folder.
    rows : mapping of str to Row
        The ledger: every scan of the input by its id, in the order of the ids, finished or not. A row has a ``status``,
        and a ``reason`` if the scan was refused or failed.

    Examples
    --------
    >>> import hilum
    >>> for scan in hilum.open_run("OUT"):
    ...     print(scan.row.status, scan.ct.shape, round(scan.figures["lung_left_ml"]))
    done (75, 96, 96) 1366
    """

    folder: Path
    rows: Mapping[str, ledger.Row]

    def __repr__(self) -> str:
        """The folder and the number of scans of each status, on one line."""
        counts = ", ".join(f"{n} {status}" for status, n in self.status.items() if n)
        return f"Run({str(self.folder)!r}: {len(self)} finished scans{f' ({counts})' if counts else ''})"

    def _repr_html_(self) -> str:
        """Show pictures and what is known in a notebook."""
        # By name, and when a notebook asks: runs lie below everything that draws.
        shown: str = import_module("hilum.viewer.run_summary").run_html(self)
        return shown

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The ids of the finished scans, sorted."""
        if not self.rows:  # without a ledger every folder of a scan counts
            return tuple(scan.scan_id for scan in self.unlisted)
        return tuple(row.id for row in self.rows.values() if row.status in ledger.FINISHED)

    @cached_property
    def _folds(self) -> FoldsFile:
        return FoldsFile(self.folder, self.ids)

    def __fspath__(self) -> str:
        """The run's folder: what takes the path of a run takes a `Run` too."""
        return str(self.folder)

    def __len__(self) -> int:
        """Number of finished scans."""
        return len(self.ids)

    def __iter__(self) -> Iterator[RunScan]:
        """Iterate over the finished scans, sorted by id."""
        return map(self._scan, self.ids)

    def __contains__(self, scan_id: object) -> bool:
        """Whether a scan of this id is finished."""
        return isinstance(scan_id, str) and scan_id in self._known

    def __getitem__(self, scan_id: str | SupportsIndex) -> RunScan:
        """Find a finished scan by its id, or by its number from 0.

        Raises
        ------
        UnknownScanError
            If the run refused it, it failed, or the run has no such scan. This is a KeyError too.
        IndexError
            If there is no such number.
        InputTypeError
            If it is neither, such as a slice.
        """
        if isinstance(scan_id, SupportsIndex):
            return self._scan(self.ids[scan_id])
        if scan_id in self:
            return self._scan(scan_id)
        raise self._unknown(scan_id)

    def _unknown(self, scan_id: object) -> InputError:
        """Say why there is no such scan."""
        if not isinstance(scan_id, str):
            do = "run['ID'] and run[0] are scans, list(run)[:3] is a list of some"
            return InputTypeError(f"{name_type(scan_id)} is no id of a scan and no number", do=do)
        if (row := self.rows.get(scan_id)) is not None:
            what = f"has no output ({row.status}): {row.reason}"
            return UnknownScanError(what, where=scan_id, code=row.code)
        near = difflib.get_close_matches(scan_id, self.rows or self.ids, n=3, cutoff=0.5)
        do = f"the nearest ids are {name_some(near)}" if near else "run.ids has the ids"
        return UnknownScanError("the run has no scan of this id", where=scan_id, do=do)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.ids)

    def _scan(self, scan_id: str) -> RunScan:
        return RunScan(self.folder / "scans" / scan_id, self.rows.get(scan_id), self._folds)

    @property
    def status(self) -> dict[ledger.Status, int]:
        """How many scans of the input are ``done``, ``repaired``, ``refused`` and ``failed``."""
        counts = Counter(row.status for row in self.rows.values())
        return {status: counts[status] for status in get_args(ledger.Status)}

    @property
    def refused(self) -> tuple[ledger.Row, ...]:
        """The scans whose input cannot be trusted; ``reason`` says why in one line, ``code`` in one word."""
        return tuple(row for row in self.rows.values() if row.status == "refused")

    @property
    def failed(self) -> tuple[ledger.Row, ...]:
        """The scans at which hilum or the machine failed."""
        return tuple(row for row in self.rows.values() if row.status == "failed")

    @property
    def unlisted(self) -> tuple[RunScan, ...]:
        """The scans without a line in the ledger, sorted by id: a running run writes it a moment after the folder."""
        scans = finished.scans_folder(self.folder)
        names = sorted(path.name for path in scans.iterdir()) if scans.is_dir() else []
        found = [RunScan(scans / name) for name in names if name not in self.rows and not is_unfinished(name)]
        return tuple(scan for scan in found if scan.valid_record is not None)

    @property
    def recipe(self) -> Recipe:
        """The recipe of the run, from its ``recipe.toml``; `InputError` if it is missing or damaged."""
        return parse_recipe(recipe_text(self.folder), where=self.folder / RECIPE)

    def folds(self, by: str = "fold") -> dict[str, tuple[str, ...]]:
        """List the finished scans of each fold.

        Parameters
        ----------
        by : str, default 'fold'
            The label of the data set that is a scan's fold: ``fold``, or ``patient_fold`` if the data set knows
            patients. The folds of ``hilum folds`` replace these two.

        Returns
        -------
        dict of str to tuple of str
            The ids of the scans of each fold, by its name, such as ``"0"``; ``""`` for scans without a fold.

        Raises
        ------
        InputError
            If ``folds.json`` is malformed, or lacks a finished scan, or a ``scan.json`` is damaged.

        Examples
        --------
        >>> import hilum
        >>> run = hilum.open_run("OUT")
        >>> run.folds() == {"": run.ids}  # neither the data set nor hilum folds made folds
        True
        """
        listed: dict[str, list[str]] = {}
        for scan in (replace(one, fold_by=by) for one in self):
            listed.setdefault(scan.fold, []).append(scan.scan_id)
        return {name: tuple(listed[name]) for name in sorted(listed, key=lambda name: (len(name), name))}

    def table(self, *, every: bool = False) -> RunTable:
        """Collect what is known of the scans as columns; volumes are not read.

        Parameters
        ----------
        every : bool, default False
            Add the scans that were refused or failed, with None for what they do not have.

        Returns
        -------
        RunTable
            A dict of lists: one value for each finished scan, in the order of a loop over the run, None where it is
            missing. The columns are those of ``scans.csv``, ``unit``, ``annotated`` and ``fold``, the labels of the
            data set, the figures of ``scan.json``, each with its unit in its name, and the volume of each label of a
            label map, ``labels/NAME/LABEL_ml``. A label with the name of another column is left out.

        Raises
        ------
        FormatError
            If a ``scan.json`` is missing or has changed.

        Examples
        --------
        >>> import hilum
        >>> table = hilum.open_run("OUT").table()
        >>> table["status"], table["spacing_z_mm"], table["slice_thickness_mm"]
        (['done'], [4.0], [6.25])
        """
        rest = (row for row in self.rows.values() if row.status not in ledger.FINISHED)
        return make_table(self.folder, self, rest if every else ())


def open_run(folder: AnyRun) -> Run:
    """Open the output of ``hilum run``; only its ledger is read.

    Parameters
    ----------
    folder : str or path
        The folder that ``--out`` named. The run may still be in progress, or on a disk that is read-only. A `Run` is a
        path, too, and is returned as it is.

    Returns
    -------
    Run
        Its finished scans by id, and the reasons of the others.

    Raises
    ------
    MissingInputError
        If the folder does not exist, or is not the output of a run.
    FormatError
        If the ledger or the folder of the scans is a link.

    Examples
    --------
    >>> import hilum
    >>> run = hilum.open_run("OUT")
    >>> len(run), run.status, [row.reason for row in run.refused]
    (1, {'done': 1, 'repaired': 0, 'refused': 0, 'failed': 0}, [])
    """
    if isinstance(folder, Run):
        return folder
    path = as_path(folder)
    scans = finished.scans_folder(path)
    if not (path / ledger.NAME).is_file() and not scans.is_dir():
        outer = next((one for one in path.resolve().parents if (one / ledger.NAME).is_file()), None)
        do = f"give {outer}" if outer else "give the --out folder of 'hilum run'"
        what = "no output of a run here" if path.exists() else "does not exist"
        raise MissingInputError(what, where=path, do=do)
    return Run(path, dict(sorted(ledger.read_ledger(path).items())))
