"""Any file, or any folder: every volume file and every CT series in it is a scan.

A folder is searched once. Whatever in it looks like a scan and cannot be one is refused by name; the rest is counted.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hilum.datasets.listing import Listing, left_out
from hilum.errors import InputError, MissingInputError
from hilum.io import READERS, check_is_ct, is_volume, read, suffix_of
from hilum.io.files import is_there
from hilum.io.folder_listing import FolderListing, list_folder
from hilum.io.output_kinds import output_kind
from hilum.io.uids import is_uid
from hilum.io.unreadable import looks_like_dicom, no_readable_slice, not_downloaded, packed_files, unreadable_folder
from hilum.scan import DatasetEntry, Note, Scan, ScanRef

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hilum.io.dicom.index import Files

_ID_DIGITS = 16

_LEVELS = 3
"""How deep subfolders are indexed each by itself, so that the headers of thousands of series are not in memory at once:
patients, studies, series."""


def index(root: Path) -> Listing:
    """List the scans of a file or folder, reading headers only.

    Parameters
    ----------
    root : Path
        A volume file, a DICOM file, or a folder that is searched with its subfolders. What hilum wrote itself is not
        searched.

    Returns
    -------
    Listing
        Volume files first, then CT series, each in a fixed order; ids are unique. Folders of files that should be
        slices and are none, files that are links to nothing, and folders that may not be opened are refused.

    Raises
    ------
    InputError
        If there is no such path, nothing in it that could be a scan, or it is an output of hilum.
    """
    if not is_there(root):
        if os.path.islink(root):  # noqa: PTH114 - no path is too odd to be asked
            raise not_downloaded(root, [root.name])
        raise MissingInputError("there is no such file or folder", where=root, do="check the path")
    if root.is_file() or is_volume(root):
        return Listing([_ref(root, "", tag=root.stem)])
    if kind := output_kind(root):
        what = f"is an output of hilum ({kind}), and no input"
        do = "name a volume in it (scans/ID/ct.nii.gz), or the folder that it was made from"
        raise InputError(what, where=root, do=do, code="own-output")
    tree = list_folder(root)
    names, copies = _volumes(root, tree)
    refs = [_ref(root / name, "", tag=name) for name in names]
    refused: list[InputError] = [not_downloaded(root / n, [n]) for n in tree.dangling if suffix_of(Path(n)) in READERS]
    found = _search(root, tree)
    refs += found.series(root)
    refused += [*found.refused, *(unreadable_folder(root / name) for name in tree.locked)]
    notes = _notes(root, tree)
    if copies:
        notes.append(Note("same-file", f"{copies} links to volume files that are listed anyway, not taken twice"))
    if found.aside and refs:
        told = ", ".join(f"{count} {kind}" for kind, count in sorted(found.aside.items()))
        notes.append(Note("no-ct-images", f"DICOM files that are no CT slices were left out: {told}"))
    if not refs and len(refused) < 2:
        raise refused[0] if refused else _nothing(root)
    return Listing(_unique(refs), notes=notes, refused=list(refused))


def load(ref: ScanRef, *, max_gap_mm: float | None = None) -> Scan:
    """Load a scan that `index` listed.

    Parameters
    ----------
    ref : ScanRef
    max_gap_mm : float, optional
        As `hilum.read` takes it.

    Returns
    -------
    Scan

    Raises
    ------
    InputError
        What was found wrong in its rows when it was listed, or as `hilum.read` does.
    """
    known = ref.known or DatasetEntry()
    if known.refusal is not None:
        raise known.refusal
    scan = read(ref.path, series=ref.series_uid, annotations=ref.annotations, max_gap_mm=max_gap_mm)
    check_is_ct(scan, ref.path)
    if not known.annotated:
        return scan
    return replace(scan, nodules=known.nodules, annotated=True, notes=(*scan.notes, *known.notes))


def scan_id_of(series_uid: str) -> str:
    """Name a scan's output folder after its series, without showing any text of the file.

    Parameters
    ----------
    series_uid : str
        A Series Instance UID, or whatever stands for it.

    Returns
    -------
    str
        ``ct-`` and 16 hexadecimal digits of a SHA-256.
    """
    return "ct-" + hashlib.sha256(series_uid.encode("utf-8", "replace")).hexdigest()[:_ID_DIGITS]


def _ref(path: Path, series_uid: str, *, tag: str, files: tuple[str, ...] = ()) -> ScanRef:
    stem = path.name[: -len(suffix_of(path))] if suffix_of(path) else path.name
    uid = series_uid or (stem if is_uid(stem) else "")
    return ScanRef("folder", scan_id_of(uid or tag), path, series_uid, files=files)


def _volumes(root: Path, tree: FolderListing) -> tuple[list[str], int]:
    """The volume files in the order of a walk, and how many links to one of them were left out."""
    names = [name for name in tree.files if suffix_of(Path(name)) in READERS]
    linked = {name for name in names if (root / name).is_symlink()}
    own = {os.path.realpath(root / name) for name in names if name not in linked}
    kept = [name for name in names if name not in linked or os.path.realpath(root / name) not in own]
    return sorted(kept, key=lambda name: Path(name).parts), len(names) - len(kept)


class _Found:
    """What the DICOM files of a tree are."""

    def __init__(self) -> None:
        self.slices: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        self.tags: dict[str, str] = {}
        self.aside: defaultdict[str, int] = defaultdict(int)
        self.settled: set[str] = set()
        self.refused: list[InputError] = []

    def series(self, root: Path) -> list[ScanRef]:
        """The CT series, each where its slices lie."""
        refs = []
        for key, homes in sorted(self.slices.items()):
            common = os.path.commonpath(sorted(homes))
            if key.startswith("/"):  # no UID tells these slices: the reader chooses among all that lie there
                refs.append(_ref(root / common, "", tag=self.tags[key]))
            else:
                refs.append(_ref(root / common, key, tag="", files=_below(common, homes)))
        return refs


def _below(common: str, homes: Mapping[str, set[str]]) -> tuple[str, ...]:
    """The files of some folders, relative to one in which all of them lie."""
    names: list[str] = []
    for home, files in homes.items():
        inner = home[len(common) :].removeprefix("/")
        names += [f"{inner}/{name}" for name in files] if inner else files
    return tuple(sorted(names))


def _search(root: Path, tree: FolderListing) -> _Found:
    """List the CT series, and the folders whose files should be one."""
    from hilum.io.dicom.index import read_files
    from hilum.io.dicom.series import sort_out

    found = _Found()
    headers = {_home(name) for name in tree.files if name.lower().endswith((".mhd", ".nhdr"))}
    for names in _parts(tree.files):
        files = read_files(root, names)
        sorted_out = sort_out(files.headers)
        for header in sorted_out.slices:
            home, name = os.path.split(header.path)
            key = header.series_uid or f"/{home}"  # slices without a UID are told apart by their folder
            # Many series name their files alike: thousands of lists hold each name once.
            found.slices[key][sys.intern(home)].add(sys.intern(name))
            found.settled.add(home)
            if not header.series_uid:
                tag = f"{header.sop_uid} {header.path}"
                found.tags[key] = min(found.tags.get(key, tag), tag)
        damaged: list[str] = []
        for finding in sorted_out.findings:
            if finding.code == "ignored-damaged-file":
                damaged += finding.files
            else:
                found.aside[finding.code.removeprefix("ignored-").replace("-", " ")] += len(finding.files)
        _refuse_folders(root, found, files, damaged, headers)
    _refuse_links(root, found, tree)
    return found


def _home(name: str) -> str:
    return os.path.dirname(name)  # noqa: PTH120 - of thousands


def _parts(names: list[str]) -> list[list[str]]:
    """Files by the folders in which they lie, down to a few levels."""
    parts: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for name in names:
        parts[tuple(name.split("/")[:-1][:_LEVELS])].append(name)
    return [parts[key] for key in sorted(parts)]


def _refuse_folders(root: Path, found: _Found, files: Files, damaged: list[str], headers: set[str]) -> None:
    """Refuse each folder without a CT slice in which files look like slices; `headers` have data files beside them."""
    groups: defaultdict[str, tuple[list[str], list[str], list[str]]] = defaultdict(lambda: ([], [], []))
    for k, names in enumerate((files.junk, damaged, files.locked)):
        for name in names:
            home = _home(name)
            if suffix_of(Path(name)) not in READERS and looks_like_dicom(name, bare=home not in headers):
                groups[home][k].append(name)
    others = {_home(header.path) for header in files.headers if header.path not in damaged}
    for folder, (junk, broken, locked) in sorted(groups.items()):
        if folder in found.settled or (folder in others and not broken and not locked):
            continue  # slices tell of what lies beside them; of another kind of image a file or two is no matter
        found.refused.append(no_readable_slice(root, folder, junk=junk, damaged=broken, locked=locked))
        found.settled.add(folder)


def _refuse_links(root: Path, found: _Found, tree: FolderListing) -> None:
    """Refuse each folder in which slices, or all there is, are links to content that is not there."""
    lost: defaultdict[str, list[str]] = defaultdict(list)
    for name in tree.dangling:
        if suffix_of(Path(name)) not in READERS:
            lost[_home(name)].append(name)
    beside = {_home(name) for name in tree.files}
    for folder, names in sorted(lost.items()):
        if folder not in found.settled and (folder not in beside or any(map(looks_like_dicom, names))):
            found.refused.append(not_downloaded(root / folder, names))


def _notes(root: Path, tree: FolderListing) -> list[Note]:
    notes = left_out(root, tree.outputs)
    if tree.repeated:
        text = f"{len(tree.repeated)} linked folders lead to folders that are searched anyway: not searched twice"
        notes.append(Note("ignored-links", text))
    if tables := [name for name in tree.files if name.rsplit("/", 1)[-1].lower() == "annotations.csv"]:
        what, do = "no scan gets the rows of", "give it with --annotations"
        name = tables[0].rsplit("/", 1)[-1]
        notes.append(Note("unused-table", f"{what} {name}: {do}", f"{what} {root.name}/{tables[0]}: {do}"))
    if packed := packed_files(tree.files):
        notes.append(
            Note("ignored-archives", f"{len(packed)} packed files (zip, tar, gzip) are not searched: unpack them")
        )
    return notes


def _nothing(root: Path) -> InputError:
    """Why a folder holds no scan."""
    from hilum.io.dicom.reader import index_dicom

    try:
        index_dicom(root)
    except InputError as error:
        return error
    raise AssertionError(root)  # a search that found no slice found one


def _unique(refs: list[ScanRef]) -> list[ScanRef]:
    seen: dict[str, int] = {}
    out = []
    for ref in refs:
        seen[ref.scan_id] = count = seen.get(ref.scan_id, 0) + 1
        renamed = ref.scan_id if count == 1 else f"{ref.scan_id}-{count}"
        out.append(replace(ref, scan_id=renamed))
    return out
