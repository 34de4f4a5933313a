"""Read the output folder of a run for the page."""

from contextlib import suppress
from dataclasses import dataclass

import msgspec

from hilum.errors import FormatError, InputError, MissingInputError
from hilum.io.volumes.placement import GridRecord
from hilum.ops.labels.overlay import HEX_COLORS, number_colors
from hilum.outputs import dataset_summary, ledger, parts
from hilum.outputs.folder import recipe_text
from hilum.outputs.ledger import Row, decode_row
from hilum.outputs.records import DatasetRecord, LabelMapRecord, NoduleRecord, ScanRecord
from hilum.outputs.scans_index import Origin, read_origins
from hilum.report.risk import Flag, flags, risk
from hilum.runs.run import AnyRun, open_run
from hilum.runs.run_scan import RunScan

UNLISTED = "unlisted"  # status of a finished scan that the ledger does not list


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One scan, as the page's script reads it; fields of the same name as in `ScanRecord` come from ``scan.json``."""

    id: str
    status: str
    risk: int
    flags: list[Flag]
    seconds: float
    dataset: str = ""
    series_uid: str = ""
    labels: dict[str, int | float | str] = {}
    case: str = ""  # of a public data set, from ``scans.csv``
    version: str = ""
    recipe: str = ""
    recipe_sha256: str = ""
    fingerprint: str = ""
    unit: str = ""
    geometry: GridRecord | None = None
    source_geometry: GridRecord | None = None
    nodules: list[NoduleRecord] = []
    label_maps: dict[str, LabelMapRecord] = {}
    label_colors: dict[str, dict[str, str]] = {}
    figures: dict[str, float] = {}
    files: dict[str, int] = {}
    preview: parts.PreviewRecord | None = None
    no_picture: str = ""


_FROM_RECORD = [name for name in Entry.__struct_fields__ if name in ScanRecord.__struct_fields__ and name != "files"]


@dataclass(frozen=True, eq=False)
class PageContent:
    """Everything that the page shows of a run.

    Parameters
    ----------
    name : str
        Name of its folder.
    entries : list of Entry
        Sorted by risk, the highest first.
    pictures : dict of str to bytes
        PNG previews by scan id.
    rows : int
        Scans in the ledger.
    unreadable : int
        Lines of the ledger that cannot be read, such as one cut off by a crash.
    written : float
        Time of the last change of the ledger, in seconds since 1970.
    recipe : str
        The text of ``recipe.toml``; empty without one.
    datasets : list of DatasetRecord
        What the tables of the data sets say.
    """

    name: str
    entries: list[Entry]
    pictures: dict[str, bytes]
    rows: int
    unreadable: int
    written: float
    recipe: str
    datasets: list[DatasetRecord]


def gather(folder: AnyRun) -> PageContent:
    """Read the output folder of a run, which may still be in progress.

    Parameters
    ----------
    folder : str or path
        The output folder.

    Returns
    -------
    PageContent

    Raises
    ------
    MissingInputError
        If there is no ledger.
    """
    run, pictures = open_run(folder), dict[str, bytes]()
    path = run.folder / ledger.NAME
    if not path.is_file():
        raise MissingInputError(f"has no {ledger.NAME}", where=run.folder, do="give the --out folder of 'hilum run'")
    entries = [_entry(scan.scan_id, scan.row, scan, pictures) for scan in (*run, *run.unlisted)]
    entries += [_entry(row.id, row, None, pictures) for row in (*run.refused, *run.failed)]
    origins = read_origins(run.folder)
    entries = [_with_case(entry, origins.get(entry.id)) for entry in entries]
    entries.sort(key=lambda entry: (-entry.risk, entry.figures.get("lung_score", 1.0), entry.id))
    recipe = ""
    with suppress(InputError):  # it is missing or damaged
        recipe = recipe_text(run.folder)
    return PageContent(
        name=run.folder.resolve().name,
        entries=entries,
        pictures=pictures,
        rows=len(run.rows),
        unreadable=sum(decode_row(line) is None for line in ledger.read_lines(run.folder)),
        written=path.stat().st_mtime,
        recipe=recipe,
        datasets=dataset_summary.read_summary(run.folder),
    )


def _with_case(entry: Entry, origin: Origin | None) -> Entry:
    """Add what ``scans.csv`` knows of a scan; its data set and series only if it has no ``scan.json``."""
    if origin is None:
        return entry
    dataset, series_uid = entry.dataset or origin.dataset, entry.series_uid or origin.series_uid
    return msgspec.structs.replace(entry, case=origin.case, dataset=dataset, series_uid=series_uid)


def _entry(name: str, row: Row | None, scan: RunScan | None, pictures: dict[str, bytes]) -> Entry:
    record = None if scan is None else scan.valid_record
    reasons = flags(row, record)
    status, seconds = (UNLISTED, 0.0) if row is None else (row.status, row.seconds)
    entry = Entry(id=name, status=status, risk=risk(reasons), flags=reasons, seconds=seconds)
    if scan is None or record is None:
        return entry
    preview, missing = None, "no pictures: an older version of hilum made this scan without them"
    try:
        if (read := parts.read_preview(scan.folder, record)) is not None:
            preview, pictures[name] = read
            missing = ""
    except FormatError as problem:
        missing = f"no pictures: {problem.what}"
    stored = {field: getattr(record, field) for field in _FROM_RECORD}
    stored["files"] = {file: facts.bytes for file, facts in record.files.items()}
    numbers = number_colors({name: one.values for name, one in record.label_maps.items()})
    colors = {
        name: {label: HEX_COLORS[numbers[name][value]] for label, value in one.values.items()}
        for name, one in record.label_maps.items()
    }
    return msgspec.structs.replace(entry, **stored, preview=preview, no_picture=missing, label_colors=colors)
