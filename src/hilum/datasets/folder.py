"""Any file or folder: every volume file and every CT series in it is a scan.

A folder is searched once. What looks like a scan but cannot be read is refused by name; other files are counted.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from hilum.datasets.dicom_search import folder_of, scan_ref, search_dicom
from hilum.datasets.listing import Listing, known_of, link_notes, own_output_notes, scan_id_of
from hilum.errors import HilumError, InputError, MissingInputError
from hilum.io import archives, scan_files
from hilum.io.annotations.table_rows import give_marks
from hilum.io.files import path_exists
from hilum.io.folders import FolderListing, list_folder, output_kind
from hilum.io.read_options import DEFAULT, ReadOptions
from hilum.io.unpacking import SUFFIXES
from hilum.io.unreadable import not_downloaded, packed_files, unreadable_folder
from hilum.io.volumes.formats import SCAN_SUFFIXES, is_volume, suffix_of
from hilum.scan import Note, Scan
from hilum.scan_ref import ScanRef


def index(root: Path) -> Listing:
    """List the scans of a file or folder, reading headers only.

    Parameters
    ----------
    root : Path
        A volume file, a DICOM file, or a folder that is searched with its subfolders, except outputs of hilum.

    Returns
    -------
    Listing
        Volume files first, then CT series, each in a fixed order; ids are unique. Refused are folders of files that
        look like slices but are not, links to content that is not here, and folders that cannot be opened.

    Raises
    ------
    InputError
        If there is no such path, nothing in it could be a scan, or it is an output of hilum.
    """
    _check_exists(root)
    if archives.is_archive(root):
        return _index_archive(root, root.name)
    if root.is_file() or is_volume(root):
        return Listing([scan_ref(root, "", tag=root.stem)])
    if kind := output_kind(root):
        what = f"is an output of hilum ({kind}), not an input"
        do = "name a volume in it (scans/ID/ct.nii.gz), or the folder that it was made from"
        raise InputError(what, where=root, do=do, code="own-output")
    tree = list_folder(root)
    volumes, links = _volumes(root, tree)
    names = _without_label_maps(volumes)
    refs = [scan_ref(root / name, "", tag=name) for name in names]
    dangling = [name for name in tree.dangling if suffix_of(Path(name)) in SCAN_SUFFIXES]
    refused: list[HilumError] = [not_downloaded(root / name, [name]) for name in dangling]
    dicom = search_dicom(root, tree)
    refs += dicom.scan_refs(root)
    refused += [*dicom.refused, *(unreadable_folder(root / name) for name in tree.locked)]
    notes = _notes(root, tree)
    regions = [root / name for name in dicom.regions]
    for listing in _archive_listings(root, tree):
        refs += listing.refs
        regions += listing.region_files
        refused += listing.refused
        notes += [note for note in listing.notes if note not in notes]
    if maps := len(volumes) - len(names):
        what = f"{maps} label maps of nnU-Net (labelsTr beside imagesTr) are no scans: left out"
        notes.append(Note("labels-without-scan", f"{what}; give the unpacked folder of both to read them"))
    if links:
        notes.append(Note("same-file", f"{links} links to volume files that are listed anyway: not listed twice"))
    if dicom.ignored and refs:
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(dicom.ignored.items()))
        notes.append(Note("no-ct-images", f"DICOM files that are not CT slices were left out: {counts}"))
    if not refs and len(refused) < 2:
        if refused:
            raise refused[0]
        from hilum.io.dicom.reader import index_dicom

        index_dicom(root)  # refuses the folder: it has no slice
    return Listing(_with_unique_ids(refs), notes=notes, refused=refused, region_files=regions)


def _check_exists(root: Path) -> None:
    if not path_exists(root):
        if os.path.islink(root):  # noqa: PTH114 - raises for no path
            raise not_downloaded(root, [root.name])
        raise MissingInputError("there is no such file or folder", where=root, do="check the path")


def _archive_listings(root: Path, tree: FolderListing) -> Iterator[Listing]:
    """The scans of each archive in a folder; one that cannot be opened is refused."""
    for name in tree.files:
        if archives.is_archive(root / name):
            try:
                yield _index_archive(root / name, name)
            except HilumError as error:
                yield Listing([], refused=[error])


def _index_archive(path: Path, name: str) -> Listing:
    """List the scans of an archive: each refers to the archive, and to the member in it that is to be read."""
    with archives.opened(path) as opened:
        listing = index(opened.path)
        refs = []
        for ref in listing.refs:
            member = ref.path.relative_to(opened.path).as_posix()
            files = () if member == "." else (member,)
            has_uid = ref.series_uid or ref.scan_id != scan_id_of(member)
            scan_id = ref.scan_id if has_uid else scan_id_of(f"{name}/{member}")
            refs.append(replace(ref, path=path, files=files, scan_id=scan_id))
        refused = [opened.place(error) for error in listing.refused]
        regions = [path / file.relative_to(opened.path) for file in listing.region_files]
        notes = [*opened.notes, *listing.notes]
        return Listing(refs, notes=notes, refused=refused, region_files=regions)


def load(ref: ScanRef, *, options: ReadOptions = DEFAULT) -> Scan:
    """Load a scan that `index` listed, as `hilum.datasets.Dataset.load`."""
    known = known_of(ref)
    stated = {**vars(options), "series": ref.series_uid, "annotations": ref.annotations}
    if ref.files and archives.is_archive(ref.path):
        scan = scan_files.read_member(ref.path, ref.files[0], **stated)
    else:
        scan = scan_files.read(ref.path, **stated)
    scan_files.check_is_ct(scan, ref.path)
    scan = give_marks(scan, known) if known.annotated or known.locations or known.marks else scan
    return replace(scan, labels=known.labels) if known.labels else scan


def _volumes(root: Path, tree: FolderListing) -> tuple[list[str], int]:
    """The volume files, and the number of links to them that were left out."""
    names = [name for name in tree.files if suffix_of(Path(name)) in SCAN_SUFFIXES]
    links = {name for name in names if (root / name).is_symlink()}
    targets = {os.path.realpath(root / name) for name in names if name not in links}
    distinct = [name for name in names if name not in links or os.path.realpath(root / name) not in targets]
    return sorted(distinct, key=lambda name: Path(name).parts), len(names) - len(distinct)


def _without_label_maps(names: list[str]) -> list[str]:
    """Leave out the volumes in ``labelsTr`` if there are some in ``imagesTr`` beside it; so for ``Ts`` and ``Val``."""
    folders = {folder_of(name) for name in names}
    labels = {name for name in folders if re.fullmatch(r"labels(?:Tr|Ts|Val)", name.rsplit("/", 1)[-1])}
    maps = {name for name in labels if f"{name.rpartition('labels')[0]}images{name.rpartition('labels')[2]}" in folders}
    return [name for name in names if folder_of(name) not in maps]


def _notes(root: Path, tree: FolderListing) -> list[Note]:
    notes = [*own_output_notes(root, tree.outputs), *link_notes(tree)]
    if tables := [name for name in tree.files if name.rsplit("/", 1)[-1].lower() == "annotations.csv"]:
        what, do = "no scan gets the rows of", "give it with --annotations"
        name = tables[0].rsplit("/", 1)[-1]
        notes.append(Note("unused-table", f"{what} {name}: {do}", f"{what} {root.name}/{tables[0]}: {do}"))
    opened = (*SUFFIXES, ".gz")
    if packed := [name for name in packed_files(tree.files) if not name.lower().endswith(opened)]:
        what = f"{len(packed)} packed files (7z, bz2, rar, xz) are not searched: unpack them"
        notes.append(Note("ignored-archives", what))
    return notes


def _with_unique_ids(refs: list[ScanRef]) -> list[ScanRef]:
    counts: Counter[str] = Counter()
    unique = []
    for ref in refs:
        counts[ref.scan_id] += 1
        count = counts[ref.scan_id]
        unique.append(ref if count == 1 else replace(ref, scan_id=f"{ref.scan_id}-{count}"))
    return unique
