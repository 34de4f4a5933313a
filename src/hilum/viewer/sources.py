"""What the viewer shows: one scan, or the scans of a run, each with a number as its id."""

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import hilum
from hilum.errors import AnnotationError, FormatError, InputError, MissingInputError
from hilum.io.annotations.detections import PointTables, read_detections
from hilum.io.annotations.table_rows import TableColumns
from hilum.io.files import read_small
from hilum.io.labels.attach import attach_labels
from hilum.io.read_options import ReadOptions
from hilum.io.volumes.formats import stem_of
from hilum.ops.nodules.axes import note_axes
from hilum.outputs import checksums, findings, ledger, parts, records
from hilum.outputs.finished import MAX_RECORD_BYTES, check_files, decode_record, record_sha256
from hilum.outputs.folder import recipe_text
from hilum.pipeline import place_label_maps
from hilum.recipes import Recipe
from hilum.report.risk import flags, risk
from hilum.report.text import all_visible, visible
from hilum.runs.run import open_run
from hilum.runs.run_scan import RunScan
from hilum.scan import Scan
from hilum.scan_ref import LabelGrid, ScanRef
from hilum.viewer.detections import of_series, shown_detections
from hilum.viewer.label_overlays import label_files, read_overlays
from hilum.viewer.reviews import Review
from hilum.viewer.scan_view import ScanView, view_of_finished, view_of_input

CHANGED = "changed"  # the flag of a scan whose `scan.json` does not match the ledger; the scan is not shown


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
    originals : mapping of str to ScanRef
        The input of the run's scans, by scan id, if it was given.
    detections : (Path, PointTables) or None
        A detector's table of marks, and what it holds.
    who : str
        The name under which corrected masks are saved.
    """

    name: str
    items: tuple[Item, ...]
    run: Path | None = None
    recipe: str | None = None
    scan: Scan | None = None
    originals: Mapping[str, ScanRef] = field(default_factory=dict)
    detections: tuple[Path, PointTables] | None = None
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
            return self._with_detections(view_of_input(self.scan), item.name)
        if item.folder is None:
            raise MissingInputError("this scan has no output", where=item.name, do="see the run's ledger")
        record, sha256, doubt = self._checked(item, item.folder)
        with ThreadPoolExecutor(1) as pool:  # checking 150 MB takes 0.5 s
            check = pool.submit(check_files, item.folder, record)
            try:
                scan = RunScan(item.folder).scan(label_maps=False)
                overlays = read_overlays(item.folder, record)
            finally:
                check.result()  # if both fail, this error has the cause
        original = self.originals.get(item.name)
        told = {"doubt": doubt, "recipe": self.recipe or ""}
        view = view_of_finished(scan, record, sha256, overlays=overlays, original=original, **told)
        return self._with_detections(view, item.name)

    def _with_detections(self, view: ScanView, name: str) -> ScanView:
        """Give the page the marks of the table; None without a table."""
        if self.detections is None:
            return replace(view, facts={**view.facts, "detections": None})
        table, tables = self.detections
        scan = view.scan
        names = (scan.series_uid, name, stem_of(Path(name)))
        shown, notes = shown_detections(tables, names, scan.ct.geometry, scan.nodules, table=table)
        told = [*view.facts["notes"], *({"code": note.code, "text": note.text} for note in notes)]
        return replace(view, facts={**view.facts, "detections": shown, "notes": told})

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


def check_record(folder: Path, row: ledger.Row | None) -> tuple[records.ScanRecord, str, str]:
    """Read ``scan.json`` in a finished scan's folder and compare it with the scan's ledger row.

    Refuses a file that is missing, damaged, of another scan, or not the one that the ledger names. Returns the record,
    its SHA-256, and why it could not be checked; empty if it was.
    """
    path = folder / "scan.json"
    raw = read_small(path, limit=MAX_RECORD_BYTES)
    sha256 = hashlib.sha256(raw).hexdigest()
    if row is not None and row.scan_sha256 not in ("", sha256):
        raise FormatError("does not match the checksum in the ledger", where=path, do=checksums.RERUN, code="checksum")
    if (record := decode_record(raw)) is None:
        raise FormatError("is not a record of a scan", where=path, do=checksums.RERUN)
    if record.scan_id != folder.name:
        raise FormatError("is the record of another scan", where=path, do=checksums.RERUN, code="checksum")
    if row is None:
        return record, sha256, "the ledger does not list this scan"
    return record, sha256, "" if row.scan_sha256 else "the ledger has no checksum for this scan"


def open_source(
    path: Path,
    *,
    annotations: Path | None = None,
    columns: TableColumns | None = None,
    labels: Sequence[str] = (),
    label_grid: LabelGrid = "world",
    rois: Sequence[str] = (),
    original: Path | None = None,
    detections: Path | None = None,
    **options: Any,
) -> Source:
    """Open a scan or a run.

    Parameters
    ----------
    path : Path
        A DICOM folder, a volume file, or the output folder of a run.
    annotations : Path, optional
        A table of nodules or readings, for one scan.
    columns : TableColumns, optional
        For one scan: its annotations, as in `hilum.read`.
    labels : sequence of str
        For one scan: its label maps, as `hilum.viewer.label_overlays.label_files` takes them.
    label_grid : {"world", "voxels"}
        Place label maps by their geometry, or voxel on voxel.
    rois : sequence of str
        For one scan: the regions of DICOM structure sets and segmentations to show.
    original : Path, optional
        For a run: its input, to compare with the result.
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
    if (path / ledger.NAME).is_file():
        if annotations is not None or columns is not None or labels or rois or ReadOptions(**options) != ReadOptions():
            what = "a run has its own nodules, label maps and scans"
            do = "leave out --annotations, --labels, --roi and the options of reading a scan"
            raise InputError(what, where=path, do=do)
        run = _open_run(path, original)
        return replace(run, detections=_of_run(marks, run)) if marks is not None else run
    if original is not None:
        what = "an original can only be compared with a finished run"
        raise InputError(what, where=path, do="leave out --original", code="option")
    scan = hilum.read(path, annotations=annotations, columns=columns, **options)
    scan = attach_labels(scan, label_files(labels, path, scan, grid=label_grid, rois=rois))
    scan = _place(replace(scan, notes=(*scan.notes, *note_axes(scan, scan.ct))))
    name = path.resolve().name
    codes = [note.code for note in scan.notes]
    nodules = len(scan.nodules) if scan.annotated else None
    row = _row(
        name, findings.finished_status(codes), codes, viewable=True, nodules=nodules, label_maps=list(scan.label_maps)
    )
    item = Item(name, row | _grid(scan.ct.shape, scan.ct.spacing))
    source = Source(name, (item,), scan=scan, detections=marks)
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


def _open_run(folder: Path, original: Path | None) -> Source:
    run = open_run(folder)
    finished = {scan.scan_id: scan for scan in (*run, *run.unlisted) if scan.folder.is_dir()}
    items = []
    for name in sorted({**run.rows, **finished}):
        ledger_row, scan = run.rows.get(name), finished.get(name)
        record = None if scan is None else scan.valid_record
        reasons = flags(ledger_row, record)
        names = [CHANGED] if scan is not None and record is None else [flag.name for flag in reasons]
        status, reason = ("unlisted", "") if ledger_row is None else (ledger_row.status, ledger_row.reason)
        row = _row(name, status, names, reason=reason, risk=risk(reasons), viewable=scan is not None)
        if record is not None:
            row |= {"thumbnail": "preview.png" in record.files, "nodules": len(record.nodules)}
            row["label_maps"] = list(record.label_maps)
            row |= {f"{side}_ml": record.figures.get(f"lung_{side}_ml") for side in ("right", "left")}
            row |= _grid(record.geometry.shape, record.geometry.spacing)
        uid = "" if record is None else record.series_uid
        items.append(Item(name, row, None if scan is None else scan.folder, ledger_row, uid))
    originals: dict[str, ScanRef] = {}
    if original is not None:  # a run does not store input paths, which can name patients
        from hilum import batch

        originals = {ref.scan_id: ref for ref in batch.index([original])[0]}
    return Source(folder.resolve().name, tuple(items), folder, _recipe(folder), originals=originals)


def _row(name: str, status: str, flags: list[str], **known: Any) -> dict[str, Any]:
    unknown = dict.fromkeys(("risk", "nodules", "right_ml", "left_ml", "shape", "spacing"))
    row = {"name": name, "status": status, "reason": "", "flags": flags}
    return row | unknown | {"label_maps": [], "viewable": False, "thumbnail": False} | known


def _grid(shape: tuple[int, ...], spacing: tuple[float, ...]) -> dict[str, Any]:
    return {"shape": list(shape), "spacing": list(spacing)}


def _recipe(folder: Path) -> str | None:
    with suppress(InputError):
        return "\n".join(visible(line) for line in recipe_text(folder).splitlines()) + "\n"
    return None
