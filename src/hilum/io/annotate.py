"""Give a scan the nodules and points that an annotation file lists for it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from hilum.errors import AnnotationError, MissingInputError, UnsupportedError, one_line
from hilum.io.annotations import tables
from hilum.io.annotations.luna import MATCHED_BY_NAME, NO_ROWS, lists_series_uids
from hilum.io.annotations.table_rows import TableColumns, give_marks
from hilum.io.names import is_uid
from hilum.io.volumes import formats
from hilum.scan import Scan


def annotate(
    scan: Scan, annotations: str | Path, *, names: Sequence[str] = (), columns: TableColumns | None = None
) -> Scan:
    """Give a scan the nodules that an annotation file lists for it.

    Parameters
    ----------
    scan : Scan
        On its own grid, as `read` returns it.
    annotations : str or Path
        A table of nodules (``.csv``), boxes (``.json``), or a LIDC-IDRI reading in ``.xml``.
    names : sequence of str
        Other names of the scan, for a table without a row of its series UID.
    columns : TableColumns, optional
        How the table is read.

    Returns
    -------
    Scan
        With its nodules, in world millimetres, and a note for everything odd. A scan without a row in a table only
        gets a note: nobody may have looked at it.

    Raises
    ------
    AnnotationError, MissingInputError, UnsupportedError
        If the file is missing, of an unknown format, or cannot be trusted.
    """
    path = Path(annotations)
    if not path.is_file():
        raise MissingInputError("there is no such annotation file", where=path, do="check the path")
    if not tables.is_plain(path, columns):
        return _annotate_from_table(scan, path, names, columns)
    if (suffix := formats.suffix_of(path)) == ".csv":
        from hilum.io.annotations.luna import read_annotations

        nodules, notes = read_annotations(path, series_uid=scan.series_uid, names=names)
        if nodules is None:
            return replace(scan, notes=(*scan.notes, *notes))
    elif suffix == ".xml":
        if not is_uid(scan.series_uid) and not scan.slice_uids:
            known = one_line(scan.series_uid, limit=40)
            what = f"a reading belongs to a series UID, and the scan is only known as {known!r}"
            do = "give the DICOM series, or name the file by its UID (hilum nodules: --series-uid)"
            raise AnnotationError(what, where=path, do=do)
        from hilum.io.annotations.lidc import read_lidc

        nodules, points, notes = read_lidc(path, scan=scan)
        scan = replace(scan, locations=MappingProxyType({**scan.locations, **points}))
    else:
        what = "annotations are read from a table (.csv), boxes (.json) or a LIDC-IDRI .xml"
        raise UnsupportedError(what, where=path, do="give one of them")
    return replace(scan, nodules=nodules, annotated=True, notes=(*scan.notes, *notes))


def _annotate_from_table(scan: Scan, path: Path, names: Sequence[str], columns: TableColumns | None) -> Scan:
    """Give a scan the rows of a table that is not simply LUNA16's."""
    if path.suffix.lower() not in {".csv", ".json"}:
        raise UnsupportedError("has no columns", where=path, do="leave --columns out, or give a .csv", code="option")
    table = tables.read_table(path, columns)
    entry, name = tables.entry_of(table, (scan.series_uid, *names))
    if entry is None:
        return replace(scan, notes=(*scan.notes, NO_ROWS))
    how = tables.table_note(table, columns, path)
    by_name = () if name == scan.series_uid else (MATCHED_BY_NAME,)
    return give_marks(scan, replace(entry, notes=(how, *by_name, *entry.notes)))


def check_annotated(scan: Scan, annotations: Path, *, columns: TableColumns | None = None) -> None:
    """Refuse a table that gave a scan no nodules, unless it lists other series and this scan has none.

    Parameters
    ----------
    scan : Scan
        As `annotate` returned it.
    annotations : Path
        The table.
    columns : TableColumns, optional
        How to read the table; by default as its header tells.

    Raises
    ------
    AnnotationError
    """
    if scan.annotated:
        return
    if scan.locations:
        what = "has no sizes, so that no mask can be drawn"
        raise AnnotationError(what, where=annotations, do="state one with --diameter-mm", code="no-sizes")
    plain = tables.is_plain(annotations, columns)
    names = [] if plain else [name for name in tables.read_table(annotations, columns).keys_by_name() if name]
    if is_uid(scan.series_uid) and (lists_series_uids(annotations) if plain else any(map(is_uid, names))):
        return
    first = f"; its first row names {one_line(names[0], limit=64)!r}" if names else ""
    what = f"has no row for the series {scan.series_uid}{first}"
    do = "state the UID of the scan in the table (--series-uid), or choose the column of ids (--columns)"
    raise AnnotationError(what, where=annotations, do=do, code="no-row-fits")
