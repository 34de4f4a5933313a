"""The National Lung Screening Trial from The Cancer Imaging Archive: DICOM series by participant and study.

Sources: https://doi.org/10.7937/TCIA.HMQ8-J677 and https://cdas.cancer.gov/datasets/nlst/. TCIA's tool writes
``NLST/100002/01-02-1999-NLST-LSS-16408/SERIES/1-001.dcm``. A study has several series: kernels, thicknesses,
localizers. Every CT series is a scan; localizers are not.

Tables that are used if they are in the folder or beside it:

* ``nlst_780_prsn_idc_20210527.csv``, or another with the columns ``pid`` and ``can_scr``: the result of the screen
  that goes with the first confirmed lung cancer; 0 is no cancer, 1 to 4 are one.
* ``sct_image_series_d040722.csv``, or another with ``seriesinstanceuid`` and ``study_yr``: the year of a series.

Without the second one the year is that of the study's folder. TCIA replaced all dates by January 2 of 1999, 2000 and
2001, which stand for the screening years 0, 1 and 2.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from hilum.datasets import folder
from hilum.datasets.listing import Listing, entries, id_of_case, table_record
from hilum.errors import HilumError
from hilum.io.annotations.csv_tables import read_header, read_rows, wrong_line
from hilum.io.names import safe_name
from hilum.outputs.records import TableRecord
from hilum.scan import Label, Note
from hilum.scan_ref import DatasetEntry, ScanRef

_PARTICIPANT = re.compile(r"[12][0-9]{5}")
_STUDY = re.compile(r"01-02-(1999|2000|2001)-(?:.*-)?NLST\b.*")
_DO = "restore it from the download"
_TABLES = {"cancer": ("pid", "can_scr"), "study_yr": ("seriesinstanceuid", "study_yr")}

load = folder.load


def recognize(root: Path) -> bool:
    """Whether a folder holds participants (six digits) with studies that are called as TCIA calls those of the NLST."""
    places = [root, *_inner_folders(root)]
    inside = (path for place in places for path in entries(place))
    participants = (path for path in (root.resolve(), *inside) if _PARTICIPANT.fullmatch(path.name))
    return any(_STUDY.fullmatch(study.name) for path in participants for study in entries(path))


def index(root: Path, annotations: Path | None = None) -> Listing:  # noqa: ARG001 - `survey` reads other tables
    """List the CT series with their labels, reading headers only, as `hilum.datasets.Dataset.index`.

    Parameters
    ----------
    root : Path
        A folder that is searched with its subfolders.
    annotations : Path, optional
        Not used.

    Returns
    -------
    Listing
        Ids begin with the participant, ``NLST-100002``, who is the ``case`` of each scan. ``labels["study_yr"]`` is the
        screening year, 0 to 2, and ``labels["cancer"]`` whether a lung cancer of the participant was confirmed, then or
        later; each where it is known.

    Raises
    ------
    AnnotationError
        If a table cannot be read.
    InputError
        As `hilum.datasets.folder.index`.
    """
    listing = folder.index(root)
    refs, studies = [], []
    for ref in listing.refs:
        parts = (root.resolve().name, *ref.path.relative_to(root).parts)
        pid = next((part for part in parts if _PARTICIPANT.fullmatch(part)), "")
        study = next((match for part in parts if (match := _STUDY.fullmatch(part))), None)
        labels: dict[str, Label] = {} if study is None else {"study_yr": int(study[1]) - 1999}
        case = f"NLST-{pid}" if pid else ""
        scan_id = id_of_case(case, ref.scan_id)
        known = DatasetEntry(labels=labels)
        refs.append(replace(ref, dataset="nlst", scan_id=scan_id, case=case, known=known))
        studies.append((pid, "" if study is None else study[0]))
    notes = list(listing.notes)
    if several := [count for count in Counter(studies).values() if count > 1]:
        what = f"{len(several)} of {len(set(studies))} studies have several CT series, {sum(several)} in all"
        notes.append(Note("several-series", f"{what}: each is a scan"))
    records: list[TableRecord] = []
    tables = _find_tables(root)
    for label, path in tables.items():
        refs, record = _with_label(refs, label, path)
        records.append(record)
    if "study_yr" not in tables and any("study_yr" in ref.known.labels for ref in refs):
        what = "no table of series (seriesinstanceuid, study_yr) is in the folder or beside it"
        notes.append(Note("assumed-years", f"{what}: study_yr is 0 to 2 for studies of 1999 to 2001"))
    if "cancer" not in tables:
        what = (
            "there is no table of participants (pid, can_scr) in the folder or beside it: no scan gets a label cancer"
        )
        notes.append(Note("no-labels", what))
    return replace(listing, refs=refs, notes=notes, tables=records)


def _inner_folders(root: Path) -> Iterator[Path]:
    """The folders where TCIA's tool puts the participants."""
    for path in entries(root):
        if re.match(r"(?i)nlst|manifest", path.name) and path.is_dir():
            yield path
            yield from (inner for inner in entries(path) if inner.name.upper() == "NLST" and inner.is_dir())


def _find_tables(root: Path) -> dict[str, Path]:
    """The table of each label: the first csv with its columns in the folder, in those in it, or beside it."""
    above = root.resolve().parent
    found: dict[str, Path] = {}
    for place in (root, *(path for path in entries(root) if not _PARTICIPANT.fullmatch(path.name)), above):
        for path in entries(place):
            if path.suffix.lower() == ".csv" and path.is_file():
                try:
                    head = {name.lower() for name in read_header(path)}
                except HilumError:  # no table
                    continue
                for label, columns in _TABLES.items():
                    if head.issuperset(columns):
                        found.setdefault(label, path)
    return found


def _with_label(refs: list[ScanRef], label: str, path: Path) -> tuple[list[ScanRef], TableRecord]:
    """Give scans the label of a table: a number that a participant or series has in it."""
    counts: Counter[str] = Counter()
    values: dict[str, int] = {}
    for row in read_rows(path, _TABLES[label], do=_DO):
        counts[row.key] += 1
        text = row.values[1].strip() if row.values is not None else ""
        if re.fullmatch(r"[0-9]", text):
            number = int(text) if label == "study_yr" else int(text != "0")
            if values.setdefault(row.key, number) != number:
                raise wrong_line(path, row.line, f"{label} differs from an earlier row of the same {_TABLES[label][0]}")
        elif row.values is None:
            raise wrong_line(path, row.line, row.what)
    keys = [ref.series_uid if label == "study_yr" else ref.case.removeprefix("NLST-") for ref in refs]
    given = [
        replace(ref, known=replace(ref.known, labels={**ref.known.labels, label: values[key]}))
        if key in values
        else ref
        for ref, key in zip(refs, keys, strict=True)
    ]
    without = [ref.scan_id for ref, key in zip(refs, keys, strict=True) if key not in counts]
    name = safe_name(path.name) or f"table of {label}"
    return given, table_record(name, counts, set(keys), without, lambda _: "(not here)")
