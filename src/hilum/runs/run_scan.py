"""A finished scan of a run; its record and its volumes are read when they are first asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.errors import FormatError, MissingInputError
from hilum.geometry import Geometry
from hilum.io.names import is_uid
from hilum.io.volumes.open_volumes import OpenVolume
from hilum.outputs import checksums, corrections, finished, ledger, parts, records
from hilum.outputs.folds import LABELS, FoldsFile, label_text
from hilum.scan import AIRWAYS, BOTH_LUNGS, LUNG_NAMES, SIDE_NAMES, Label, LabelMap, Nodule, Note, Scan
from hilum.volume import Mask, Volume

_READ = frozenset({"ct", "lungs", "nodule_mask", "label_maps", "locations"})


@dataclass(frozen=True, eq=False)
class RunScan:
    """A finished scan of a run.

    Everything is read when it is first asked for, and kept as long as this object. A loop over a run gives a new object
    for each scan, so that memory holds the volumes of one. A pickled copy has no volumes: it reads its own.

    Parameters
    ----------
    folder : Path
        The scan's folder in the run.
    row : Row, optional
        The scan's line of the ledger: ``row.status``, ``row.alarms``, ``row.seconds``. None for a scan that the ledger
        does not list.
    run_folds : FoldsFile, optional
        The folds of the run.
    fold_by : str, default 'fold'
        The label of the data set that is the scan's `fold`, where ``hilum folds`` made none.

    Raises
    ------
    InputError
        By any attribute below, if a file that it reads is missing, damaged or a link, or differs from what the run
        wrote.

    Examples
    --------
    >>> import hilum
    >>> scan = hilum.open_run("OUT")[0]
    >>> scan.ct.shape, scan.lungs.shape, len(scan.nodules)
    ((75, 96, 96), (75, 96, 96), 5)
    >>> round(scan.figures["lung_left_ml"]), round(scan.lungs.volume_ml(2))
    (1366, 1366)
    """

    folder: Path
    row: ledger.Row | None = None
    run_folds: FoldsFile | None = None
    fold_by: str = "fold"

    def __repr__(self) -> str:
        """The id and the status, on one line."""
        return f"RunScan({self.scan_id}: {'not in the ledger' if self.row is None else self.row.status})"

    def _repr_html_(self) -> str:
        """Show pictures and what is known in a notebook."""
        # By name, and when a notebook asks: runs lie below everything that draws.
        shown: str = import_module("hilum.viewer.run_summary").run_scan_html(self)
        return shown

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the volumes: another process reads its own."""
        return {name: value for name, value in self.__dict__.items() if name not in _READ}

    @property
    def scan_id(self) -> str:
        """The name of the scan in its run."""
        return self.folder.name

    @cached_property
    def valid_record(self) -> records.ScanRecord | None:
        """The content of ``scan.json``; None if it is missing, damaged, or not the one that the ledger names."""
        row = self.row
        if row is not None and row.scan_sha256:  # old versions had none
            record = finished.record_of_row(self.folder, row)
        else:
            record = finished.read_record(self.folder)
        return record if record is not None and (row is None or record.scan_id == row.id) else None

    @property
    def record(self) -> records.ScanRecord:
        """The content of ``scan.json``: measurements, origin, versions, files and their checksums."""
        if self.valid_record is None:
            what = "the ledger lists this scan as finished, but its scan.json is missing or has changed"
            if self.row is None:
                what = "its scan.json is missing or damaged, or of another version of hilum"
            raise FormatError(what, where=self.folder, do=checksums.RERUN, code="checksum")
        return self.valid_record

    @cached_property
    def geometry(self) -> Geometry:
        """The grid of the stored volumes."""
        return self.record.geometry.to_geometry()

    @cached_property
    def ct(self) -> Volume:
        """The CT, in the unit ``record.unit``: HU, or the recipe's range scaled to [0, 1]."""
        if (volume := self._read_checked("ct")) is None:
            raise MissingInputError("has no ct file", where=self.folder, do=checksums.RERUN)
        return volume

    @cached_property
    def lungs(self) -> Mask | None:
        """The lung mask, with the names of its labels; None if the recipe makes none."""
        if (mask := self._read_mask("lungs")) is None or "lung_right_ml" not in self.figures:
            return mask and replace(mask, names=BOTH_LUNGS)
        return replace(mask, names=LUNG_NAMES if mask.array.max() == AIRWAYS else SIDE_NAMES)

    @cached_property
    def nodule_mask(self) -> Mask | None:
        """The mask of the nodules, 1, 2, ... in the order of `nodules`; None for a scan without annotations."""
        return self._read_mask("nodules")

    @cached_property
    def label_maps(self) -> Mapping[str, LabelMap]:
        """The label maps by name, on the grid of the CT."""
        found: dict[str, LabelMap] = {}
        for name, one in self.record.label_maps.items():
            if (mask := self._read_mask(f"{finished.LABELS}/{name}")) is not None:
                found[name] = LabelMap(mask, MappingProxyType(one.values))
        return MappingProxyType(found)

    @property
    def nodules(self) -> tuple[Nodule, ...]:
        """The nodules as spheres in the world, in the order of their labels."""
        found = self.record.nodules
        return tuple(Nodule(one.world, one.diameter_mm, scores=MappingProxyType(one.scores)) for one in found)

    @property
    def annotated(self) -> bool:
        """Whether the run had annotations of this scan, even if they list no nodule."""
        return records.is_annotated(self.record)

    @property
    def notes(self) -> tuple[Note, ...]:
        """Every oddity of the scan, and what hilum did about it."""
        return tuple(Note(note["code"], note["text"]) for note in self.record.notes)

    @property
    def labels(self) -> Mapping[str, Label]:
        """The labels that a data set gives the scan, such as ``fold`` and ``cancer``."""
        return MappingProxyType(self.record.labels)

    @property
    def figures(self) -> Mapping[str, float]:
        """Measurements of the scan; each name ends in its unit: ``lung_right_ml``, ``lung_mean_hu``."""
        return MappingProxyType(self.record.figures)

    @cached_property
    def locations(self) -> Mapping[str, NDArray[np.float64]]:
        """Positions other than nodules, by kind, as in `hilum.Scan`."""
        return MappingProxyType(parts.read_locations(self.folder, self.record))

    @property
    def uid(self) -> str:
        """The series UID; empty if the record has another name in its place."""
        return self.record.series_uid if is_uid(self.record.series_uid) else ""

    @property
    def made_fold(self) -> str:
        """The fold that ``hilum folds`` gave the scan; empty without ``folds.json``."""
        return "" if self.run_folds is None else self.run_folds.fold_of(self.scan_id)

    @property
    def fold(self) -> str:
        """The fold in ``folds.json``, or the label ``fold_by``; empty without both."""
        made = self.made_fold if self.fold_by in LABELS else ""
        return made or label_text(self.record.labels.get(self.fold_by, ""))

    @property
    def patient_fold(self) -> str:
        """The fold in ``folds.json``, or the label ``patient_fold``, or the label ``fold``; empty without all."""
        labels = self.record.labels
        return self.made_fold or str(labels.get("patient_fold", labels.get("fold", "")))

    def scan(self, *, label_maps: bool = True) -> Scan:
        """Read the whole scan, as `hilum.preprocess` returned it.

        Parameters
        ----------
        label_maps : bool, default True
            Read its label maps too.

        Returns
        -------
        Scan
            With the voxels as stored.

        Raises
        ------
        InputError
            If a file is missing, damaged or a link, or is newer than ``scan.json`` and does not match its checksum.

        Examples
        --------
        >>> import hilum
        >>> scan = hilum.open_run("OUT")[0].scan()
        >>> hilum.segment_lungs(scan.ct).shape == scan.ct.shape
        True
        """
        record, mask = self.record, self.nodule_mask
        return Scan(
            series_uid=record.series_uid,
            ct=self.ct,
            nodules=self.nodules,
            annotated=mask is not None,
            lungs=self.lungs,
            nodule_mask=mask,
            label_maps=self.label_maps if label_maps else MappingProxyType({}),
            notes=self.notes,
            figures=self.figures,
            nodule_figures=() if mask is None else tuple(map(_measurements, record.nodules)),
            labels=self.labels,
            acquisition=MappingProxyType(record.acquisition),
            locations=self.locations,
        )

    def format_of(self, part: str = "ct") -> str:
        """Name the format of a stored volume; empty if the scan does not have it.

        Parameters
        ----------
        part : str, default 'ct'
            ``ct``, ``lungs``, ``nodules`` or ``labels/NAME``.

        Returns
        -------
        str
            ``nifti``, ``npy``, ``b2nd`` or ``zarr``.

        Examples
        --------
        >>> import hilum
        >>> hilum.open_run("OUT")[0].format_of("lungs")
        'nifti'
        """
        return finished.format_of(self.record, part)

    def read(self, part: str) -> Volume | None:
        """Read a stored volume without keeping it, and without comparing its files with ``scan.json``.

        Parameters
        ----------
        part : str
            ``ct``, ``lungs``, ``nodules`` or ``labels/NAME``.

        Returns
        -------
        Volume or None
            None if the scan does not have it.

        Examples
        --------
        >>> import hilum
        >>> hilum.open_run("OUT")[0].read("labels/lobes") is None
        True
        """
        return finished.read_stored(self.folder, self.record, part)

    def corrected(self, part: str = "lungs") -> Mask | None:
        """Read the newest correction of a mask that ``hilum view`` saved beside the run.

        Parameters
        ----------
        part : str, default 'lungs'
            ``lungs``, ``nodules`` or ``labels/NAME``.

        Returns
        -------
        Mask or None
            On the grid of the scan, with the labels of the mask; None if nobody corrected it. ``corrections.csv`` in
            the run's folder lists who corrected which mask, and when.

        Raises
        ------
        InputError
            If the table is damaged, the correction has changed since it was saved, or the run has replaced the mask
            that was corrected.

        Examples
        --------
        >>> import hilum
        >>> scan = hilum.open_run("OUT")[0]
        >>> lungs = scan.corrected("lungs") or scan.lungs
        >>> lungs.shape == scan.ct.shape
        True
        """
        run = self.folder.parent.parent
        last = corrections.newest(corrections.read_corrections(run)).get((self.scan_id, part))
        return None if last is None else corrections.read_corrected(run, last, self.record)

    def open(self, part: str) -> OpenVolume | None:
        """Open a stored volume, to read boxes of it without reading the rest.

        Parameters
        ----------
        part : str
            ``ct``, ``lungs``, ``nodules`` or ``labels/NAME``.

        Returns
        -------
        OpenVolume or None
            Its ``read(start, size)`` takes the first voxel and the size of a box, (z, y, x). None if the scan does not
            have the volume. npy is memory-mapped, b2nd and zarr unpack the chunks of a box, nifti is unpacked whole.

        Examples
        --------
        >>> import hilum
        >>> hilum.open_run("OUT")[0].open("ct").read((10, 20, 30), (16, 32, 32)).shape
        (16, 32, 32)
        """
        return finished.open_stored(self.folder, self.record, part)

    def check_files(self, *, digest: bool = True) -> None:
        """Compare the files with the sizes in ``scan.json``, and with their checksums.

        Parameters
        ----------
        digest : bool, default True
            Read all bytes. Otherwise only the checksums of files that are newer than ``scan.json`` are compared.

        Raises
        ------
        InputError
            If a file is missing, is a link, or has changed.

        Examples
        --------
        >>> import hilum
        >>> hilum.open_run("OUT")[0].check_files()
        """
        finished.check_files(self.folder, self.record, digest=digest)

    def _read_checked(self, part: str) -> Volume | None:
        self.check_files(digest=False)
        return self.read(part)

    def _read_mask(self, part: str) -> Mask | None:
        return mask if isinstance(mask := self._read_checked(part), Mask) else None


def _measurements(nodule: records.NoduleRecord) -> dict[str, float]:
    values = {"voxels": float(nodule.voxels), "mean_hu": nodule.mean_hu, "inside_lungs": nodule.inside_lungs}
    return {name: value for name, value in values.items() if value is not None}
