"""Find the parts of LUNA16 in a folder: scans, lung masks and tables, in any layout that people use."""

import filecmp
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from hilum.datasets.listing import entries, link_notes, own_output_notes
from hilum.errors import one_line
from hilum.io.folders import FolderListing, list_folder
from hilum.io.names import is_uid, safe_name
from hilum.io.unreadable import looks_like_dicom
from hilum.io.volumes.formats import SCAN_SUFFIXES, suffix_of
from hilum.scan import Note

SUBSET = re.compile(r"subset(\d{1,3})", re.IGNORECASE)  # names of the ten parts of LUNA16

_HEADER_SUFFIXES, _DATA_SUFFIXES = (".mhd", ".mha"), (".raw", ".zraw")

_MASK_FOLDER = re.compile(r"seg-lungs", re.IGNORECASE)
_OUTER_FOLDER = re.compile(r"subset\d{1,3}$|.*luna", re.IGNORECASE)

_SERIES_COLUMN = re.compile(r"series[ _]?(instance)?uid", re.IGNORECASE)

TABLES: Mapping[str, tuple[str, ...]] = {
    "annotations": ("annotations.csv",),
    "candidates": ("candidates_v2.csv", "candidates.csv"),
    "excluded": ("annotations_excluded.csv",),
    "patients": ("patients.csv", "metadata.csv"),
}
"""File names of each table, in lower case. The first one counts; LUNA16 replaced its candidates by a second version."""


class Luna16Files(NamedTuple):
    """The parts of the data set.

    Parameters
    ----------
    scans : list of Path
        Header files, sorted; includes missing ones whose data file is there, so that an error names them.
    lungs : mapping of str to Path
        Lung masks by series UID.
    tables : mapping of str to Path
        By the keys of `TABLES`.
    notes : list of Note
        What was odd about the folder.
    tree : FolderListing
        All files of the folder.
    """

    scans: list[Path]
    lungs: Mapping[str, Path]
    tables: Mapping[str, Path]
    notes: list[Note]
    tree: FolderListing


def find_luna16_files(root: Path) -> Luna16Files:
    """Find the parts by their names; tables and masks that are not in the folder are searched beside and above it.

    Parameters
    ----------
    root : Path
        A folder: the whole data set, some subsets, one of them, or only scans.
    """
    tree = list_folder(root)
    paths = [root / name for name in (*tree.files, *tree.dangling)]
    headers = {path for path in paths if path.suffix.lower() in _HEADER_SUFFIXES}
    masks = {path for path in headers if _is_mask(root, path)}
    data = [path for path in paths if path.suffix.lower() in _DATA_SUFFIXES and not _is_mask(root, path)]
    without_header = [path for path in data if headers.isdisjoint(map(path.with_suffix, _HEADER_SUFFIXES))]
    scans = sorted((headers - masks) | {path.with_suffix(".mhd") for path in without_header})
    csvs = [path for path in paths if path.suffix.lower() == ".csv"]
    uids = {path.stem for path in scans}
    tables, notes = {}, []
    nearby = list(_nearby_files(root))
    for kind, names in TABLES.items():
        if not (candidates := _tables_named(names, csvs)):
            candidates = [path for path in _tables_named(names, nearby) if _has_rows_of(path, uids)]
            notes += [_nearby_table_note(path) for path in candidates[:1]]
        if candidates:
            tables[kind] = candidates[0]
            notes += _other_tables_notes(candidates)
    if not masks:
        masks = {path for path in nearby if path.suffix.lower() in _HEADER_SUFFIXES}
    lungs = {path.stem: path for path in sorted(masks)}
    notes += [*link_notes(tree), *own_output_notes(root, tree.outputs)]
    if others := sum(map(_is_other_scan, tree.files)):
        what = f"{others} files of other kinds that may be scans were left out; --dataset folder reads them"
        notes.append(Note("not-luna16", what))
    return Luna16Files(scans, lungs, tables, notes, tree)


def looks_like_luna16(root: Path) -> bool:
    """Whether a folder is LUNA16, or a part of it, by its files.

    Parameters
    ----------
    root : Path
        A folder.

    Returns
    -------
    bool
        True if scans are in folders named ``subset0``, ... Also True if all scans are .mhd files named by their series
        UIDs, and the folder or the one above it has a table with rows of them or LUNA16's lung masks.
    """
    folders = [root, *_folders(root)]
    deeper = [inner for folder in folders[1:] if _OUTER_FOLDER.match(folder.name) for inner in _folders(folder)]
    deeper += [inner for folder in deeper if SUBSET.fullmatch(folder.name) for inner in _folders(folder)]
    folders += deeper
    if any(SUBSET.fullmatch(folder.resolve().name) and any(folder.glob("*.mhd")) for folder in folders):
        return True
    scan_folders = [folder for folder in folders if not _MASK_FOLDER.match(folder.name)]
    if not any(_is_named_by_series(path) for folder in scan_folders for path in folder.glob("*.mhd")):
        return False
    files = find_luna16_files(root)
    if not files.scans or not all(map(_is_named_by_series, files.scans)) or any(map(_is_other_scan, files.tree.files)):
        return False
    tables = [path for kind, path in files.tables.items() if kind != "patients"]
    uids = {path.stem for path in files.scans}
    return bool(files.lungs) or any(_has_rows_of(path, uids) for path in tables)


def _is_named_by_series(path: Path) -> bool:
    """Whether the name of a file is a series UID; a short one could be a date or another number."""
    return is_uid(path.stem) and (bool(safe_name(path.stem)) or len(path.stem) > 16)


def _folders(root: Path) -> list[Path]:
    return [path for path in entries(root) if path.is_dir()]


def _is_other_scan(name: str) -> bool:
    """Whether a file may be a scan that does not belong to LUNA16."""
    suffix = suffix_of(Path(name))
    return (suffix in SCAN_SUFFIXES and suffix not in _HEADER_SUFFIXES) or looks_like_dicom(name, bare=False)


def _nearby_files(root: Path) -> Iterator[Path]:
    """Tables and lung masks in the folder above and, as long as a folder is a subset, in those above it."""
    folder = root.resolve()
    while folder != folder.parent:
        above = folder.parent
        for tables in (above, *(path for path in _folders(above) if path.name.lower().startswith("csv"))):
            yield from sorted(path for path in tables.glob("*.[cC][sS][vV]") if path.is_file())
        for masks in (path for path in _folders(above) if _MASK_FOLDER.match(path.name) and path != root.resolve()):
            yield from sorted(path for path in masks.rglob("*.mh[ad]") if path.is_file())
        if not SUBSET.fullmatch(folder.name):
            return
        folder = above


def _has_rows_of(path: Path, uids: Collection[str]) -> bool:
    """Whether a csv has a row of one of these series, or of another from the same archive."""
    prefixes = {uid.rpartition(".")[0] for uid in uids if is_uid(uid)}
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as lines:
            if not _SERIES_COLUMN.search(next(lines, "")):
                return False
            return path.name.lower() in TABLES["patients"] or any(_uid_prefix(line) in prefixes for line in lines)
    except OSError:
        return False


def _uid_prefix(line: str) -> str:
    """The UID at the start of a line without its last part."""
    uid = line.partition(",")[0].strip(' "')
    return uid.rpartition(".")[0] if is_uid(uid) else ""


def _is_mask(root: Path, path: Path) -> bool:
    return any(_MASK_FOLDER.match(name) for name in path.relative_to(root).parent.parts)


def _tables_named(names: tuple[str, ...], paths: list[Path]) -> list[Path]:
    """The files with one of these names: by the order of the names, then the least deep."""
    matches = [path for path in paths if path.name.lower() in names]
    return sorted(matches, key=lambda path: (names.index(path.name.lower()), len(path.parts), str(path)))


def _nearby_table_note(path: Path) -> Note:
    what = "is used, from outside the folder"
    return Note("table-beside", f"{_safe_table_name(path)} {what}", f"{path.parent.name}/{path.name} {what}")


def _other_tables_notes(candidates: list[Path]) -> list[Note]:
    """Name the tables that are not used, except copies of the one that is."""
    used, *others = candidates
    if not (different := [path for path in others if not filecmp.cmp(used, path, shallow=False)]):
        return []
    names = ", ".join(sorted({_safe_table_name(path) for path in different}))
    return [Note("chose-table", one_line(f"used {_safe_table_name(used)}, not {names}", limit=200))]


def _safe_table_name(path: Path) -> str:
    """A table with its folder, if the folder's name may be shown."""
    return f"{(safe_name(path.parent.name.removesuffix('FILES')) and path.parent.name) or '(a folder)'}/{path.name}"
