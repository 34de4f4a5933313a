"""The rows of a nodule table by case: which columns they have, the names of the case, and the marks of a scan."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import get_args

import numpy as np

from hilum.errors import AnnotationError, InputError, one_line
from hilum.io.annotations.csv_tables import read_rows
from hilum.ops.nodules.axes import place_marks
from hilum.scan import Axes, Note, Scan
from hilum.scan_ref import DatasetEntry, Marks

_SUFFIX = re.compile(r"(?i)\.(?:nii|mhd|mha|nrrd|nhdr|npy|zarr|b2nd|dcm|zip|tar|tgz)(?:\.gz)?$")

_ANY_SCAN = {"ct", "data", "image", "img", "scan", "volume"}  # names of files that do not tell a scan from another

FARTHEST, LONGEST_EDGE = 1e9, 1e4  # in any axes: mm or voxels

_POSITIONS = (("x", "y", "z"), ("x0", "y0", "z0", "x1", "y1", "z1"))

_SIZES = (("diameter",), ("radius",), ("volume",), ("w", "h", "d"))

_OTHER_GRID = {"gantry-tilt", "missing-slices", "two-spacings"}
"""Notes of scans whose grid has other voxels than their files."""


@dataclass(frozen=True, kw_only=True)
class TableColumns:
    """How to read a table of nodules: which column is which, and in which axes its positions are.

    Without names of columns, the table must be one that hilum knows by its header (docs/tables.md); the other options
    then replace what is known of it.

    Parameters
    ----------
    id : str
        The column that names the scan: by series UID, folder, file or public case.
    x, y, z : str
        The columns of the center, in the order of `axes`.
    diameter, radius, volume : str
        The column of the size in mm or mm3, whatever the axes; a volume is that of a sphere.
    w, h, d : str
        Instead of a size, the columns of the edges of a box about the center, in the order and unit of `axes`.
    x0, y0, z0, x1, y1, z1 : str
        Instead of center and size, the columns of the lower and the upper corner of a box.
    label, probability : str
        Columns of numbers that become scores of the nodules.
    axes : {"", "lps", "ras", "voxel-xyz", "voxel-zyx"}
        Millimetres in the patient, or voxels of the scan's own grid, counted from 0 at the center of the first. The
        letters are the order of the three columns. Empty for what is known of the table, else ``lps``.
    diameter_mm : float, optional
        The diameter of every nodule of a table that has no sizes.
    id_map : Path, optional
        A csv of two columns, ids of the table and the names or series UIDs of their scans.

    Raises
    ------
    InputError
        If the columns of the id, of a center or of a whole box are missing, two sizes are given, two columns are the
        same, or an option is out of range.

    Examples
    --------
    >>> import hilum
    >>> columns = hilum.TableColumns(id="patient", x="left", y="back", z="up", diameter="size", axes="lps")
    >>> columns.position, columns.size
    (('left', 'back', 'up'), ('diameter',))
    """

    id: str = ""
    x: str = ""
    y: str = ""
    z: str = ""
    diameter: str = ""
    radius: str = ""
    volume: str = ""
    w: str = ""
    h: str = ""
    d: str = ""
    x0: str = ""
    y0: str = ""
    z0: str = ""
    x1: str = ""
    y1: str = ""
    z1: str = ""
    label: str = ""
    probability: str = ""
    axes: Axes | str = ""
    diameter_mm: float | None = None
    id_map: Path | None = None

    def __post_init__(self) -> None:
        if self.axes and self.axes not in get_args(Axes):
            raise InputError(f"axes is {self.axes!r}, expected one of {', '.join(get_args(Axes))}", code="option")
        if self.diameter_mm is not None and not 0 < self.diameter_mm <= 500:
            what = f"a diameter of {self.diameter_mm} mm is stated, expected more than 0 and at most 500"
            raise InputError(what, code="option")
        if not (named := self.named):
            return
        if len(set(map(str.lower, named.values()))) < len(named):
            raise InputError("two of the --columns are the same column", do="name each once", code="option")
        given = [names for names in (*_POSITIONS, *_SIZES) if any(name in named for name in names)]
        whole = all(name in named for names in given for name in names)
        if "id" not in named or not whole or given[:1] not in ([_POSITIONS[0]], [_POSITIONS[1]]):
            what = "the columns need an id, and a center (x, y, z) or the corners of a box (x0, y0, z0, x1, y1, z1)"
            raise InputError(what, do="name each of them: id=...,x=...,y=...,z=...,diameter=...", code="option")
        if len(given) > (1 if self.x0 else 2) or (self.diameter_mm is not None and self.size):
            what = "the columns state a size twice"
            raise InputError(what, do="give one of diameter, radius, volume, w with h and d, or corners", code="option")

    @property
    def named(self) -> dict[str, str]:
        """The columns that are named, by what they are."""
        options = {"axes", "diameter_mm", "id_map"}
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in options and getattr(self, f.name)}

    @property
    def position(self) -> tuple[str, ...]:
        """The columns of the center, or of the corners of a box."""
        names = _POSITIONS[1] if self.x0 else _POSITIONS[0]
        return tuple(getattr(self, name) for name in names)

    @property
    def size(self) -> tuple[str, ...]:
        """What the size is, such as ``diameter`` or ``w``, ``h``, ``d``; ``x0`` for corners; empty without one."""
        return ("x0",) if self.x0 else next((names for names in _SIZES if getattr(self, names[0])), ())


def parse_columns(text: str) -> TableColumns:
    """Read the names of columns from a text such as ``id=patient,x=coordX,y=coordY,z=coordZ,diameter=d``.

    Raises
    ------
    InputError
        If it is not such a text, or as `TableColumns`.
    """
    known = [f.name for f in fields(TableColumns) if f.name not in {"axes", "diameter_mm", "id_map"}]
    pairs = [part.partition("=") for part in text.split(",")]
    named = {name.strip(): column.strip() for name, _, column in pairs}
    wrong = [name for name, equals, column in pairs if name.strip() not in known or not equals or not column.strip()]
    if wrong or len(named) < len(pairs):
        what = f"columns {one_line(wrong[0] if wrong else text, limit=40)!r} is not NAME=COLUMN, each name once"
        raise InputError(what, do=f"names are {', '.join(known)}", code="option")
    return TableColumns(**named)  # type: ignore[arg-type]  # only names of columns


@dataclass
class CaseRows:
    """The rows of one case of a table.

    Parameters
    ----------
    names : tuple of str
        Under which its scan may be found.
    rows, repeats : int
        Numbers of all rows, and of those that repeat another and were left out.
    refusal : AnnotationError or None
        The error of the first wrong row.
    """

    names: tuple[str, ...] = ()
    rows: int = 0
    repeats: int = 0
    refusal: AnnotationError | None = None
    _marks: dict[tuple[object, ...], None] = field(default_factory=dict)

    def add(
        self, kind: str, center: Sequence[float], size: Sequence[float], scores: Mapping[str, float] | None = None
    ) -> None:
        """Add a mark, as a row of `Marks`; count it if it repeats another."""
        mark = (kind, tuple(center), tuple(size), tuple((scores or {}).items()))
        self.repeats += mark in self._marks
        self._marks[mark] = None

    def entry(self, axes: Axes) -> DatasetEntry:
        """What the table says about the scan of this case, given the axes of the table."""
        if self.refusal is not None:
            return DatasetEntry(annotated=True, refusal=self.refusal)
        groups: dict[tuple[str, int], list[tuple[object, ...]]] = {}
        for mark in self._marks:
            groups.setdefault((str(mark[0]), len(mark[2])), []).append(mark)  # type: ignore[arg-type]
        marks = tuple(
            Marks(
                kind, axes, np.array([m[1] for m in rows], np.float64), np.array([m[2] for m in rows], np.float64),
                tuple(dict(m[3]) for m in rows),  # type: ignore[call-overload]
            )
            for (kind, _), rows in groups.items()
        )  # fmt: skip
        notes = []
        if self.repeats:
            notes.append(Note("duplicate-nodules", f"{self.repeats} rows repeat a nodule and were ignored"))
        if unsized := sum(len(one.centers) for one in marks if one.kind == "marks"):
            what = f"the table has no sizes: {unsized} marks are kept as points, not drawn as nodules (--diameter-mm)"
            notes.append(Note("no-sizes", what))
        entry = DatasetEntry(annotated=not unsized, mark_axes=axes, notes=tuple(notes))
        if axes.startswith("voxel"):
            return replace(entry, marks=marks)
        nodules, locations, more = place_marks(marks)
        return replace(entry, nodules=nodules, locations=locations, notes=(*notes, *more))


@dataclass(frozen=True)
class NoduleTable:
    """A table: what it is, the axes of its positions, and its cases by id."""

    name: str
    axes: Axes
    cases: dict[str, CaseRows]

    def keys_by_name(self) -> dict[str, str]:
        """The id of the case of each name; a name of two cases counts for the one whose id it is, or for neither."""
        owners: dict[str, set[str]] = {}
        for key, case in self.cases.items():
            for name in case.names:
                owners.setdefault(name, set()).add(key)
        names = {name: next(iter(keys)) for name, keys in owners.items() if len(keys) == 1}
        return {**names, **{key: key for key in self.cases if key}}


def names_of_id(text: str) -> tuple[str, ...]:
    """The names of a scan that an id may stand for: itself, and of a path its file without suffix, and its folder."""
    parts = [part for part in re.split(r"[/\\]", text.strip()) if part not in {"", "."}]
    if not parts:
        return (text.strip(),)
    stem = _SUFFIX.sub("", parts[-1])
    found = (text.strip(), *(() if stem.lower() in _ANY_SCAN else (stem,)), *parts[-2:-1])
    return tuple(dict.fromkeys(found))


def read_id_map(path: Path) -> dict[str, str]:
    """Read which scan each id of a table is.

    Parameters
    ----------
    path : Path
        A csv with the columns id and scan.

    Returns
    -------
    dict of str to str
        The name or series UID of a scan by id.

    Raises
    ------
    AnnotationError
        If it is not such a table, or pairs an id with two scans or a scan with two ids.
    """
    do = "give two columns, id and scan: the ids of the table, and names or series UIDs of scans"
    pairs: dict[str, str] = {}
    for row in read_rows(path, ("id", "scan"), do=do):
        scan = row.values[1].strip() if row.values is not None else ""
        if not scan or pairs.setdefault(row.key, scan) != scan:
            what = f"line {row.line}: {'this id has another scan above' if scan else 'has no scan'}"
            raise AnnotationError(what, where=path, do=do)
    if len(set(pairs.values())) < len(pairs):
        twice = next(scan for scan in pairs.values() if list(pairs.values()).count(scan) > 1)
        what = f"pairs two ids with the scan {one_line(twice, limit=64)!r}"
        raise AnnotationError(what, where=path, do="give each scan one id")
    return pairs


def give_marks(scan: Scan, known: DatasetEntry) -> Scan:
    """Give a scan what a table says about it.

    Parameters
    ----------
    scan : Scan
        On its own grid.
    known : DatasetEntry
        What the tables say about the scan.

    Raises
    ------
    AnnotationError
        If the marks are in voxels, and the voxels of the scan are not those of its files.
    """
    if known.marks and (codes := _OTHER_GRID.intersection(note.code for note in scan.notes)):
        what = f"marks in voxels do not fit this scan: its slices were shifted or interpolated ({min(codes)})"
        raise AnnotationError(what, where=scan.series_uid, do="give marks in mm", code="voxel-marks")
    nodules, locations, notes = place_marks(known.marks, scan.ct.geometry)
    return replace(
        scan,
        nodules=(*known.nodules, *nodules),
        annotated=known.annotated,
        mark_axes=known.mark_axes,
        locations={**known.locations, **locations},
        notes=(*scan.notes, *known.notes, *notes),
    )
