"""Any file or folder: every volume file and every CT series in it is a scan.

A folder is searched once. What looks like a scan but cannot be read is refused by name; other files are counted.
"""

import itertools
import os
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hilum.datasets.listing import Listing, known_of, link_notes, own_output_notes, scan_id_of
from hilum.errors import HilumError, InputError, MissingInputError
from hilum.io import archives, scan_files
from hilum.io.annotations.table_rows import give_marks
from hilum.io.dicom.index import FileHeaders
from hilum.io.dicom.records import SliceHeader
from hilum.io.files import path_exists
from hilum.io.folders import FolderListing, list_folder, output_kind
from hilum.io.names import is_uid
from hilum.io.read_options import DEFAULT, ReadOptions
from hilum.io.unreadable import looks_like_dicom, no_readable_slice, not_downloaded, packed_files, unreadable_folder
from hilum.io.volumes.formats import SCAN_SUFFIXES, is_volume, suffix_of
from hilum.scan import Note, Scan
from hilum.scan_ref import ScanRef

_LEVELS = 3  # subfolders down to this level are read separately: memory cannot hold the headers of thousands of series

REGIONS = frozenset({"RTSTRUCT", "SEG"})
"""Modalities of structure sets and segmentations."""


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
        return Listing([_scan_ref(root, "", tag=root.stem)])
    if kind := output_kind(root):
        what = f"is an output of hilum ({kind}), not an input"
        do = "name a volume in it (scans/ID/ct.nii.gz), or the folder that it was made from"
        raise InputError(what, where=root, do=do, code="own-output")
    tree = list_folder(root)
    volumes, links = _volumes(root, tree)
    names = _without_label_maps(volumes)
    refs = [_scan_ref(root / name, "", tag=name) for name in names]
    dangling = [name for name in tree.dangling if suffix_of(Path(name)) in SCAN_SUFFIXES]
    refused: list[HilumError] = [not_downloaded(root / name, [name]) for name in dangling]
    dicom = _search_dicom(root, tree)
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


def _scan_ref(path: Path, series_uid: str, *, tag: str, files: tuple[str, ...] = ()) -> ScanRef:
    """A scan whose id comes from its series UID or, without one, from `tag`."""
    stem = path.name[: -len(suffix_of(path))] if suffix_of(path) else path.name
    uid = series_uid or (stem if is_uid(stem) else "")
    return ScanRef("folder", scan_id_of(uid or tag), path, series_uid, files=files)


def _volumes(root: Path, tree: FolderListing) -> tuple[list[str], int]:
    """The volume files, and the number of links to them that were left out."""
    names = [name for name in tree.files if suffix_of(Path(name)) in SCAN_SUFFIXES]
    links = {name for name in names if (root / name).is_symlink()}
    targets = {os.path.realpath(root / name) for name in names if name not in links}
    distinct = [name for name in names if name not in links or os.path.realpath(root / name) not in targets]
    return sorted(distinct, key=lambda name: Path(name).parts), len(names) - len(distinct)


def _without_label_maps(names: list[str]) -> list[str]:
    """Leave out the volumes in ``labelsTr`` if there are some in ``imagesTr`` beside it; so for ``Ts`` and ``Val``."""
    folders = {_folder_of(name) for name in names}
    labels = {name for name in folders if re.fullmatch(r"labels(?:Tr|Ts|Val)", name.rsplit("/", 1)[-1])}
    maps = {name for name in labels if f"{name.rpartition('labels')[0]}images{name.rpartition('labels')[2]}" in folders}
    return [name for name in names if _folder_of(name) not in maps]


class _DicomFiles:
    """The DICOM files of a folder.

    Attributes
    ----------
    slices : dict of str to dict of str to set of str
        By series and folder, the names of its slices. Slices without a series UID count by folder, under ``/folder``
        and the made-up name of their series.
    tags : dict of str to str
        A text that identifies each series without a UID.
    names : dict of str to str
        The made-up name of each series without a UID; empty where its folder holds no other.
    ignored : dict of str to int
        Files that are not CT slices, by kind, without `regions`.
    regions : list of str
        Structure sets and segmentations.
    done : set of str
        Folders that have slices or are refused.
    refused : list of InputError
    """

    def __init__(self) -> None:
        self.slices: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        self.tags: dict[str, str] = {}
        self.names: dict[str, str] = {}
        self.ignored: defaultdict[str, int] = defaultdict(int)
        self.regions: list[str] = []
        self.done: set[str] = set()
        self.refused: list[InputError] = []

    def add_slices(self, slices: Sequence[SliceHeader]) -> None:
        """Add CT slices to their series; the slices of a series lie below one of the upper folders."""
        from hilum.io.dicom.grouping import group_series

        without_uid: defaultdict[str, list[SliceHeader]] = defaultdict(list)
        for header in slices:
            if not header.series_uid:
                without_uid[_folder_of(header.path)].append(header)
        series = group_series(header for header in slices if header.series_uid)
        for one in itertools.chain(series, *map(group_series, without_uid.values())):
            for header in one.slices:
                folder, name = os.path.split(header.path)
                key = one.series_uid or f"/{folder}" + (f"/{one.series_part}" if one.series_part else "")
                # Many series use the same file names: interned, the memory holds each name once.
                self.slices[key][sys.intern(folder)].add(sys.intern(name))
                self.done.add(folder)
                if not one.series_uid:
                    tag = f"{header.sop_uid} {header.path}"
                    self.tags[key] = min(self.tags.get(key, tag), tag)
                    self.names[key] = one.series_part

    def scan_refs(self, root: Path) -> list[ScanRef]:
        """The CT series, each in the deepest folder that contains its slices."""
        refs = []
        for key, folders in sorted(self.slices.items()):
            common = os.path.commonpath(sorted(folders))
            if key.startswith("/"):  # the reader chooses among all slices of the folder without a UID
                ref = _scan_ref(root / common, "", tag=self.tags[key])
                refs.append(replace(ref, series_uid=self.names[key]))
            else:
                refs.append(_scan_ref(root / common, key, tag="", files=_relative_to(common, folders)))
        return refs


def _relative_to(common: str, folders: Mapping[str, set[str]]) -> tuple[str, ...]:
    """The files of some folders, relative to a folder that contains them all."""
    names = (f"{folder}/{name}".removeprefix("/") for folder, files in folders.items() for name in files)
    return tuple(sorted(name.removeprefix(f"{common}/") for name in names))


def _search_dicom(root: Path, tree: FolderListing) -> _DicomFiles:
    """Find the CT series, and the folders whose files should be one."""
    from hilum.io.dicom.frames import select_slices
    from hilum.io.dicom.index import read_files

    dicom = _DicomFiles()
    volume_folders = {_folder_of(name) for name in tree.files if name.lower().endswith((".mhd", ".nhdr"))}
    for _, names in itertools.groupby(sorted(tree.files, key=_upper_folders), _upper_folders):
        files = read_files(root, list(names))
        selection = select_slices(files.headers)
        dicom.add_slices(selection.slices)
        regions = {header.path for header in files.headers if header.modality in REGIONS}
        dicom.regions += sorted(regions)
        damaged: list[str] = []
        for finding in selection.findings:
            if finding.code == "ignored-damaged-file":
                damaged += finding.files
            elif count := len(set(finding.files) - regions):
                dicom.ignored[finding.code.removeprefix("ignored-").replace("-", " ")] += count
        _refuse_folders(root, dicom, files, damaged, volume_folders)
    _refuse_links(root, dicom, tree)
    return dicom


def _folder_of(name: str) -> str:
    return os.path.dirname(name)  # noqa: PTH120 - faster for thousands of names


def _upper_folders(name: str) -> list[str]:
    return name.split("/")[:-1][:_LEVELS]


def _refuse_folders(
    root: Path, dicom: _DicomFiles, files: FileHeaders, damaged: list[str], volume_folders: set[str]
) -> None:
    """Refuse each folder without a CT slice that has files that look like slices.

    In `volume_folders`, which have headers of volumes, files without a suffix can be the data of these.
    """
    groups: defaultdict[str, tuple[list[str], list[str], list[str]]] = defaultdict(lambda: ([], [], []))
    for k, names in enumerate((files.not_dicom, damaged, files.unreadable)):
        for name in names:
            folder = _folder_of(name)
            if suffix_of(Path(name)) not in SCAN_SUFFIXES and looks_like_dicom(name, bare=folder not in volume_folders):
                groups[folder][k].append(name)
    with_images = {_folder_of(header.path) for header in files.headers if header.path not in damaged}
    for folder, (junk, broken, locked) in sorted(groups.items()):
        # Findings on the slices of a folder report such files. Among images of another kind they do not matter.
        if folder in dicom.done or (folder in with_images and not broken and not locked):
            continue
        dicom.refused.append(no_readable_slice(root, folder, junk=junk, damaged=broken, locked=locked))
        dicom.done.add(folder)


def _refuse_links(root: Path, dicom: _DicomFiles, tree: FolderListing) -> None:
    """Refuse each folder in which slices, or all files, are links to content that is not here."""
    dangling: defaultdict[str, list[str]] = defaultdict(list)
    for name in tree.dangling:
        if suffix_of(Path(name)) not in SCAN_SUFFIXES:
            dangling[_folder_of(name)].append(name)
    with_files = {_folder_of(name) for name in tree.files}
    for folder, names in sorted(dangling.items()):
        if folder not in dicom.done and (folder not in with_files or any(map(looks_like_dicom, names))):
            dicom.refused.append(not_downloaded(root / folder, names))


def _notes(root: Path, tree: FolderListing) -> list[Note]:
    notes = [*own_output_notes(root, tree.outputs), *link_notes(tree)]
    if tables := [name for name in tree.files if name.rsplit("/", 1)[-1].lower() == "annotations.csv"]:
        what, do = "no scan gets the rows of", "give it with --annotations"
        name = tables[0].rsplit("/", 1)[-1]
        notes.append(Note("unused-table", f"{what} {name}: {do}", f"{what} {root.name}/{tables[0]}: {do}"))
    opened = (*archives.SUFFIXES, ".gz")
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
