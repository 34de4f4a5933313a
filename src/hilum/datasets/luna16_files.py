"""Where the parts of LUNA16 lie in a folder: scans, lung masks and tables, wherever people have put them."""

from __future__ import annotations

import filecmp
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hilum.errors import one_line
from hilum.io.names import safe_name
from hilum.scan import Note

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    """

    scans: list[Path]
    lungs: Mapping[str, Path]
    tables: Mapping[str, Path]
    notes: list[Note]


def find_files(root: Path) -> Files:
    """Look through a folder, names only.

    Parameters
    ----------
    root : Path
        A folder; where it is a single subset, tables and masks are looked for beside it too.

    Returns
    -------
    Files
    """
    paths, links = _walk(root)
    headers = {path for path in paths if path.suffix.lower() in _SCANS}
    masks = {path for path in headers if _is_mask(root, path)}
    bare = {path.with_suffix(".mhd") for path in paths if path.suffix.lower() in _DATA and not _is_mask(root, path)}
    scans = sorted((headers - masks) | {path for path in bare if not _has_header(path, headers)})
    csvs = [path for path in paths if path.suffix.lower() == ".csv"]
    if root.resolve().name.lower().startswith("subset"):
        beside, _ = _walk(root.resolve().parent, deep=False)
        csvs += [path for path in beside if path.suffix.lower() == ".csv"]
        masks |= {path for path in beside if path.suffix.lower() in _SCANS and _is_mask(root.resolve().parent, path)}
    notes = []
    if links:
        notes.append(Note("ignored-links", f"{links} linked folders were not followed"))
    tables = {}
    for kind, names in TABLES.items():
        found = sorted((path for path in csvs if path.name.lower() in names), key=lambda path: _rank(path, names))
        if found:
            tables[kind] = found[0]
            notes += _passed_over(found)
    return Files(scans, {path.stem: path for path in sorted(masks)}, tables, notes)


def _walk(root: Path, *, deep: bool = True) -> tuple[list[Path], int]:
    """Every file below a folder, in a fixed order, and how many linked folders were met; hidden ones are passed over.

    Not `deep`: the folder itself, its csv folders and its lung masks, but no other scans.
    """
    found, links = [], 0
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        links += sum(Path(folder, name).is_symlink() for name in folders)
        if not deep:
            folders[:] = [name for name in folders if name.lower().startswith(("csv", _MASKS))]
        found += [Path(folder, name) for name in sorted(files) if not name.startswith(".")]
    return found, links


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
