"""Where the parts of LUNA16 lie in a folder: scans, lung masks and tables, wherever people have put them."""

from __future__ import annotations

import filecmp
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hilum.datasets.listing import left_out
from hilum.errors import one_line
from hilum.io.folder_listing import FolderListing, list_folder
from hilum.io.names import safe_name
from hilum.io.uids import is_uid
from hilum.io.unreadable import looks_like_dicom
from hilum.io.volumes.formats import SCAN_SUFFIXES, suffix_of
from hilum.scan import Note

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

SUBSET = re.compile(r"subset(\d{1,3})", re.IGNORECASE)
"""What LUNA16 calls its ten parts."""

_SCANS, _DATA = (".mhd", ".mha"), (".raw", ".zraw")

_MASKS = "seg-lungs"
"""How the folder of lung masks begins."""

TABLES: Mapping[str, tuple[str, ...]] = {
    "annotations": ("annotations.csv",),
    "candidates": ("candidates_v2.csv", "candidates.csv"),
    "excluded": ("annotations_excluded.csv",),
    "patients": ("patients.csv", "metadata.csv"),
}
"""The names of each table, in lower case; of several the first counts, as LUNA16 itself says of its candidates."""


@dataclass(frozen=True)
class Files:
    """The parts of the data set.

    Parameters
    ----------
    scans : list of Path
        Headers, in the order of their paths; one whose data are there without it too, so that it is missed by name.
    lungs : mapping of str to Path
        Lung masks by series UID.
    tables : mapping of str to Path
        By the keys of `TABLES`.
    notes : list of Note
    tree : FolderListing
        What the search met beside them.
    """

    scans: list[Path]
    lungs: Mapping[str, Path]
    tables: Mapping[str, Path]
    notes: list[Note]
    tree: FolderListing


def find_files(root: Path) -> Files:
    """Look through a folder, names only; tables and masks that are not in it are looked for beside it and above.

    Parameters
    ----------
    root : Path
        A folder: the whole data set, some subsets, one of them, or nothing but scans.

    Returns
    -------
    Files
    """
    tree = list_folder(root)
    paths = [root / name for name in (*tree.files, *tree.dangling)]
    headers = {path for path in paths if path.suffix.lower() in _SCANS}
    masks = {path for path in headers if _is_mask(root, path)}
    bare = {path.with_suffix(".mhd") for path in paths if path.suffix.lower() in _DATA and not _is_mask(root, path)}
    scans = sorted((headers - masks) | {path for path in bare if not _has_header(path, headers)})
    csvs = [path for path in paths if path.suffix.lower() == ".csv"]
    uids = {path.stem for path in scans}
    tables, notes = {}, []
    beside = list(_beside(root))
    for kind, names in TABLES.items():
        found = sorted((path for path in csvs if path.name.lower() in names), key=lambda path: _rank(path, names))
        if not found:
            found = sorted((p for p in beside if p.name.lower() in names), key=lambda path: _rank(path, names))
            found = [path for path in found if _is_of(path, uids)]
            notes += [
                Note(
                    "table-beside",
                    f"took {_called(path)}, which lies beside",
                    f"took {path.parent.name}/{path.name}, which lies beside",
                )
                for path in found[:1]
            ]
        if found:
            tables[kind] = found[0]
            notes += _passed_over(found)
    if not masks:
        masks = {path for path in beside if path.suffix.lower() in _SCANS}
    return Files(scans, {path.stem: path for path in sorted(masks)}, tables, [*notes, *_told(root, tree)], tree)


def looks_like_luna16(root: Path) -> bool:
    """Whether a folder is LUNA16, or a part of it, by what lies in it.

    Parameters
    ----------
    root : Path

    Returns
    -------
    bool
        True where scans lie in folders called ``subset0``, ...; or where all there is are .mhd files called by their
        series UIDs, with a table that is of them or LUNA16's lung masks, in the folder or beside it.
    """
    folders = [root, *_folders(root)]
    deeper = [inner for folder in folders[1:] if _PART.match(folder.name) for inner in _folders(folder)]
    deeper += [inner for folder in deeper if SUBSET.fullmatch(folder.name) for inner in _folders(folder)]
    near = [*folders, *deeper]
    if any(SUBSET.fullmatch(folder.resolve().name) and any(folder.glob("*.mhd")) for folder in near):
        return True
    if not any(_is_series(path) for folder in near if not _MASK.match(folder.name) for path in folder.glob("*.mhd")):
        return False
    files = find_files(root)
    others = [name for name in files.tree.files if _is_other_scan(name)]
    named = bool(files.scans) and all(map(_is_series, files.scans))
    given = {kind: path for kind, path in files.tables.items() if kind != "patients"}
    uids = {path.stem for path in files.scans}
    return named and not others and (bool(files.lungs) or any(_is_of(path, uids) for path in given.values()))


_LONGEST_DATE = 16

_PART = re.compile(r"subset\d{1,3}$|.*luna", re.IGNORECASE)
_MASK = re.compile(_MASKS, re.IGNORECASE)
_SERIES = re.compile(r"series[ _]?(instance)?uid", re.IGNORECASE)


def _is_series(path: Path) -> bool:
    """Whether a file is called by a series UID; one that is short could be a date, or a number that somebody gave."""
    return is_uid(path.stem) and (bool(safe_name(path.stem)) or len(path.stem) > _LONGEST_DATE)


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(path for path in root.iterdir() if not path.name.startswith(".") and path.is_dir())
    except OSError:  # may not be opened: no shape to see
        return []


def _is_other_scan(name: str) -> bool:
    """Whether a file may be a scan that is none of LUNA16's."""
    suffix = suffix_of(Path(name))
    return (suffix in SCAN_SUFFIXES and suffix not in _SCANS) or looks_like_dicom(name, bare=False)


def _beside(root: Path) -> Iterator[Path]:
    """Tables and lung masks of the folders above: of the next one, and on from each that is a subset."""
    folder = root.resolve()
    while folder != folder.parent:
        above = folder.parent
        places = [above, *(path for path in _folders(above) if path.name.lower().startswith("csv"))]
        for place in places:
            yield from sorted(path for path in place.glob("*.[cC][sS][vV]") if path.is_file())
        for masks in (path for path in _folders(above) if _MASK.match(path.name) and path != root.resolve()):
            yield from sorted(path for path in masks.rglob("*.mh[ad]") if path.is_file())
        if not SUBSET.fullmatch(folder.name):
            return
        folder = above


def _is_of(path: Path, uids: Collection[str]) -> bool:
    """Whether a csv has a row of one of these series, or of another that the same archive named."""
    roots = {uid.rpartition(".")[0] for uid in uids if is_uid(uid)}
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as lines:
            if not _SERIES.search(next(lines, "")):
                return False
            return path.name.lower() in TABLES["patients"] or any(_root_of(line) in roots for line in lines)
    except OSError:
        return False


def _root_of(line: str) -> str:
    """The first part of the UID with which a line begins."""
    uid = line.partition(",")[0].strip(' "')
    return uid.rpartition(".")[0] if is_uid(uid) else ""


def _told(root: Path, tree: FolderListing) -> list[Note]:
    notes = []
    if tree.repeated:
        text = f"{len(tree.repeated)} linked folders lead to folders that are searched anyway: not searched twice"
        notes.append(Note("ignored-links", text))
    notes += left_out(root, tree.outputs)
    if others := [name for name in tree.files if _is_other_scan(name)]:
        what = f"{len(others)} files of other kinds that may be scans were left out; --dataset folder takes them"
        notes.append(Note("not-luna16", what))
    return notes


def _is_mask(root: Path, path: Path) -> bool:
    return any(name.lower().startswith(_MASKS) for name in path.relative_to(root).parent.parts)


def _has_header(path: Path, headers: set[Path]) -> bool:
    return any(path.with_suffix(suffix) in headers for suffix in _SCANS)


def _rank(path: Path, names: tuple[str, ...]) -> tuple[int, int, str]:
    """The newest name first, then the shallowest place."""
    return names.index(path.name.lower()), len(path.parts), str(path)


def _passed_over(found: list[Path]) -> list[Note]:
    """Name the tables that were not taken, unless they are copies of the one that was."""
    taken, *others = found
    different = [path for path in others if not filecmp.cmp(taken, path, shallow=False)]
    if not different:
        return []
    names = ", ".join(sorted({_called(path) for path in different}))
    return [Note("chose-table", one_line(f"took {_called(taken)}, and not {names}", limit=200))]


def _called(path: Path) -> str:
    """A table and its folder, where the folder's name may be shown."""
    return f"{(safe_name(path.parent.name.removesuffix('FILES')) and path.parent.name) or '(a folder)'}/{path.name}"
