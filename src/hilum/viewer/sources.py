"""What the viewer shows: one scan, or the scans of a run, each with a number as its id."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import hilum
from hilum._kernels.threads import begin
from hilum.errors import AnnotationError, FormatError, InputError, MissingInputError
from hilum.io.annotations.detections import PointTables, read_detections
from hilum.io.annotations.table_rows import TableColumns
from hilum.io.labels.attach import attach_labels
from hilum.io.read_options import ReadOptions
from hilum.io.volumes.formats import stem_of
from hilum.ops.nodules.axes import note_axes
from hilum.outputs import findings, ledger, parts, records
from hilum.outputs.finished import RECORD, check_files, record_sha256, scans_folder
from hilum.outputs.folder import recipe_text
from hilum.outputs.scans_index import Origin, read_origins
from hilum.pipeline import place_label_maps
from hilum.recipes import Recipe
from hilum.report.text import all_visible, visible
from hilum.runs.run import open_run
from hilum.runs.run_scan import RunScan
from hilum.scan import Note, Scan
from hilum.scan_ref import LabelFile, LabelGrid
from hilum.viewer.beside import Beside, inputs_beside, run_beside, scan_beside
from hilum.viewer.checked import check_record
from hilum.viewer.described import Fields, grid_row, run_row, scan_row, series_fields
from hilum.viewer.detections import of_series, shown_detections
from hilum.viewer.given_masks import masks_of_scans, read_masks
from hilum.viewer.label_overlays import label_files, read_overlays
from hilum.viewer.reviews import Review
from hilum.viewer.scan_view import ScanView, view_of_finished, view_of_input


@dataclass(frozen=True, eq=False)
class Item:
    """One scan of the list: its row in the page, and in a run its folder and series, if it is finished, and ledger row.

    The name is the scan id in a run, otherwise that of the file or folder.
    """

    name: str
    row: dict[str, Any]
    folder: Path | None = None
    ledger_row: ledger.Row | None = None
    uid: str = ""


@dataclass(frozen=True, eq=False)
class Source:
    """One scan, or a run.

    Parameters
    ----------
    name : str
        What the page calls it.
    items : tuple of Item
        Their indices are their ids.
    run : Path or None
        The run's folder.
    recipe : str or None
        The text of its ``recipe.toml``.
    scan : Scan or None
        The one scan, if the source is not a run.
    beside : mapping of str to Beside
        What is shown beside the scans, by their names.
    detections : (Path, PointTables) or None
        A detector's table of marks, and what it holds.
    header : callable
        Gives the header fields of the one scan besides those that every scan has, a list of (str, str).
    masks : mapping of str to tuple of LabelFile
        The masks that the user gave for finished scans, by scan id.
    who : str
        The name under which corrected masks are saved.
    """

    name: str
    items: tuple[Item, ...]
    run: Path | None = None
    recipe: str | None = None
    scan: Scan | None = None
    beside: Mapping[str, Beside] = field(default_factory=dict)
    detections: tuple[Path, PointTables] | None = None
    header: Callable[[], Fields] = list
    masks: Mapping[str, tuple[LabelFile, ...]] = field(default_factory=dict)
    who: str = ""

    def session(self, reviews: Mapping[str, Review]) -> dict[str, Any]:
        """The first JSON document that the page reads."""
        rows = [
            {**item.row, "id": str(number), "review": self.review(number, reviews.get(item.name))}
            for number, item in enumerate(self.items)
        ]
        kind, version = "scan" if self.run is None else "run", hilum.__version__
        values = {"kind": kind, "name": self.name, "version": version, "reviews": kind == "run", "scans": rows}
        return {**all_visible(values), "recipe": self.recipe}

    def review(self, number: int, review: Review | None) -> dict[str, Any] | None:
        """A review as the page reads it; ``current`` says whether it is of the present output, null if unknown."""
        if review is None:
            return None
        current = review.scan_sha256 == self.current_sha256(number) if review.scan_sha256 else None
        return {"verdict": review.verdict, "comment": review.comment, "when": review.when, "current": current}

    def current_sha256(self, number: int) -> str:
        """The SHA-256 of a scan's present ``scan.json``; empty without one."""
        folder = self.items[number].folder
        return "" if folder is None else record_sha256(folder)

    def open_scan(self, number: int) -> ScanView:
        """Read a scan and check its files against their checksums; slow."""
        item = self.items[number]
        if self.scan is not None:
            view = view_of_input(self.scan, more_fields=self.header())
            view = replace(view, beside=self.beside.get(item.name))
            return self._with_detections(view, item.name)
        if item.folder is None:
            raise MissingInputError("this scan has no output", where=item.name, do="see the run's ledger")
        record, sha256, doubt = self._checked(item, item.folder)
        with ThreadPoolExecutor(1) as pool:  # checking 150 MB takes 0.5 s
            check = pool.submit(check_files, item.folder, record)
            try:
                scan = RunScan(item.folder).scan(label_maps=False)
                given, notes = read_masks(self.masks.get(item.name, ()), scan, list(record.label_maps))
                overlays = read_overlays(item.folder, record, given)
            finally:
                check.result()  # if both fail, this error has the cause
        beside = self.beside.get(item.name)
        told = {"doubt": doubt, "recipe": self.recipe or ""}
        view = view_of_finished(scan, record, sha256, overlays=overlays, beside=beside, **told)
        return self._with_detections(_with_notes(view, notes), item.name)

    def _with_detections(self, view: ScanView, name: str) -> ScanView:
        """Give the page the marks of the table; None without a table."""
        if self.detections is None:
            return replace(view, facts={**view.facts, "detections": None})
        table, tables = self.detections
        scan = view.scan
        names = (scan.series_uid, name, stem_of(Path(name)))
        shown, notes = shown_detections(tables, names, scan.ct.geometry, scan.nodules, table=table)
        return _with_notes(replace(view, facts={**view.facts, "detections": shown}), notes)

    def thumbnail(self, number: int) -> bytes | None:
        """The PNG preview of a finished scan."""
        item = self.items[number]
        preview = None if item.folder is None else parts.read_preview(item.folder, self._checked(item, item.folder)[0])
        return None if preview is None else preview[1]

    def _checked(self, item: Item, folder: Path) -> tuple[records.ScanRecord, str, str]:
        """Check a scan's record; if it does not match, read the ledger again, because the run may still go on."""
        with suppress(FormatError):
            if item.ledger_row is not None:
                return check_record(folder, item.ledger_row)
        return check_record(folder, None if self.run is None else ledger.read_ledger(self.run).get(item.name))


def _with_notes(view: ScanView, notes: Sequence[Note]) -> ScanView:
    told = [*view.facts["notes"], *({"code": note.code, "text": note.text} for note in notes)]
    return replace(view, facts={**view.facts, "notes": told})


def open_source(
    path: Path,
    *,
    annotations: Path | None = None,
    columns: TableColumns | None = None,
    labels: Sequence[str] = (),
    label_grid: LabelGrid = "world",
    rois: Sequence[str] = (),
    original: Path | None = None,
    beside: Path | None = None,
    detections: Path | None = None,
    **options: Any,
) -> Source:
    """Open a scan or a run.

    Parameters
    ----------
    path : Path
        A DICOM folder, a volume file, the output folder of a run, or the folder of one of its scans, ``OUT/scans/ID``.
    annotations : Path, optional
        A table of nodules or readings, for one scan.
    columns : TableColumns, optional
        For one scan: its annotations, as in `hilum.read`.
    labels : sequence of str
        The label maps to show: for one scan as `hilum.viewer.label_overlays.label_files` takes them, for a run or a
        finished scan as `hilum.viewer.given_masks.masks_of_scans` does.
    label_grid : {"world", "voxels"}
        Place label maps by their geometry, or voxel on voxel.
    rois : sequence of str
        For one scan: the regions of DICOM structure sets and segmentations to show.
    original : Path, optional
        For a run: its input, to compare with the result.
    beside : Path, optional
        For a run another run, for a scan another scan, to compare with it.
    detections : Path, optional
        A detector's table of marks, as `hilum.io.annotations.detections.read_detections` takes it.
    **options
        For one scan: what to read of a DICOM folder, as in `hilum.read`.

    Returns
    -------
    Source

    Raises
    ------
    InputError
        If there is nothing to show, or a label map cannot be read or does not belong to the scan.
    """
    marks = None if detections is None else (detections, read_detections(detections))
    if (path / ledger.NAME).is_file() or (path / RECORD).is_file():
        if annotations is not None or columns is not None or rois or ReadOptions(**options) != ReadOptions():
            what = "a run has its own nodules, regions and scans"
            do = "leave out --annotations, --roi and the options of reading a scan"
            raise InputError(what, where=path, do=do)
        run = _open_run(path, labels, label_grid)
        if original is not None and beside is not None:
            raise InputError("--original and --beside exclude each other", do="give one of them", code="option")
        if original is not None:
            run = replace(run, beside=inputs_beside(original))
        if beside is not None:
            run = replace(run, beside=run_beside(path, beside, {item.name: item.uid for item in run.items}))
        return replace(run, detections=_of_run(marks, run)) if marks is not None else run
    if original is not None:
        what = "an original can only be compared with a finished run"
        raise InputError(what, where=path, do="leave out --original", code="option")
    scan = hilum.read(path, annotations=annotations, columns=columns, **options)
    scan = attach_labels(scan, label_files(labels, path, scan, grid=label_grid, rois=rois))
    scan = _place(replace(scan, notes=(*scan.notes, *note_axes(scan, scan.ct))))
    header = begin(partial(series_fields, path, scan.series_uid, scan.ct.shape))  # no browser waits for it to start
    name = path.resolve().name
    codes = [note.code for note in scan.notes]
    nodules = len(scan.nodules) if scan.annotated else None
    row = scan_row(
        name, findings.finished_status(codes), codes, viewable=True, nodules=nodules, label_maps=list(scan.label_maps)
    )
    item = Item(name, row | grid_row(scan.ct.shape, scan.ct.spacing))
    other = {} if beside is None else {name: scan_beside(name, beside)}
    source = Source(name, (item,), scan=scan, beside=other, detections=marks, header=header)
    if marks is not None:
        source.open_scan(0)  # refuses marks that lie elsewhere before a browser starts
    return source


def _of_run(marks: tuple[Path, PointTables], run: Source) -> tuple[Path, PointTables]:
    """Refuse a table without a mark of any scan of a run."""
    names = [name for item in run.items for name in (item.uid, item.name)]
    if marks[1].tables and not any(name in marks[1].tables for name in of_series(marks[1], names)):
        what = f"no detection is in one of the {len(run.items)} scans of the run"
        raise AnnotationError(what, where=marks[0], do="check the series UIDs", code="no-row-fits")
    return marks


def _place(scan: Scan) -> Scan:
    """Bring the label maps of a scan to its grid."""
    label_maps, notes = place_label_maps(scan, scan.ct.geometry, Recipe())
    return replace(scan, label_maps=label_maps, notes=(*scan.notes, *notes))


def _open_run(path: Path, labels: Sequence[str], label_grid: LabelGrid) -> Source:
    """Open a run, or one of its finished scans; that may have been copied out of its run."""
    alone = None if (path / ledger.NAME).is_file() else RunScan(path.resolve())
    folder = path if alone is None else _run_of(alone.folder)
    rows: Mapping[str, ledger.Row] = {}
    origins: Mapping[str, Origin] = {}
    finished: dict[str, RunScan] = {}
    if folder is not None:
        run, origins = open_run(folder), read_origins(folder)
        rows = run.rows
        finished = {scan.scan_id: scan for scan in (*run, *run.unlisted) if scan.folder.is_dir()}
    if alone is not None:
        rows = {name: row for name, row in rows.items() if name == alone.scan_id}
        finished = {alone.scan_id: finished.get(alone.scan_id, alone)}
    masks = masks_of_scans(labels, list(finished.values()), folder, grid=label_grid)
    items = []
    for name in sorted({**rows, **finished}):
        ledger_row, scan = rows.get(name), finished.get(name)
        record = None if scan is None else scan.valid_record
        row = run_row(name, ledger_row, scan, origins.get(name), [file.name for file in masks.get(name, ())])
        uid = "" if record is None else record.series_uid
        items.append(Item(name, row, None if scan is None else scan.folder, ledger_row, uid))
    recipe = None if folder is None else _recipe(folder)
    source = Source(path.resolve().name, tuple(items), folder, recipe, masks=masks)
    if alone is not None and masks:
        source.open_scan(0)  # refuses masks that do not fit before a browser starts
    return source


def _run_of(scan: Path) -> Path | None:
    """The run that a finished scan lies in."""
    outer = scan.parent.parent
    return outer if scans_folder(outer) == scan.parent and (outer / ledger.NAME).is_file() else None


def _recipe(folder: Path) -> str | None:
    with suppress(InputError):
        return "\n".join(visible(line) for line in recipe_text(folder).splitlines()) + "\n"
    return None
