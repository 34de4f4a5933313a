"""Search a folder for DICOM series, structure sets and segmentations, and refuse what should be a series and is not."""

import itertools
import os
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hilum.datasets.listing import scan_id_of
from hilum.errors import InputError
from hilum.io.dicom.index import FileHeaders
from hilum.io.dicom.records import SliceHeader
from hilum.io.folders import FolderListing
from hilum.io.names import is_uid
from hilum.io.unreadable import looks_like_dicom, no_readable_slice, not_downloaded
from hilum.io.volumes.formats import SCAN_SUFFIXES, stem_of, suffix_of
from hilum.scan_ref import ScanRef

_LEVELS = 3  # subfolders down to this level are read separately: memory cannot hold the headers of thousands of series

REGIONS = frozenset({"RTSTRUCT", "SEG"})
"""Modalities of structure sets and segmentations."""


def scan_ref(path: Path, series_uid: str, *, tag: str, files: tuple[str, ...] = ()) -> ScanRef:
    """A scan whose id comes from its series UID or, without one, from `tag`."""
    uid = series_uid or (stem_of(path) if is_uid(stem_of(path)) else "")
    return ScanRef("folder", scan_id_of(uid or tag), path, series_uid, files=files)


class DicomFiles:
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
                without_uid[folder_of(header.path)].append(header)
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
                ref = scan_ref(root / common, "", tag=self.tags[key])
                refs.append(replace(ref, series_uid=self.names[key]))
            else:
                refs.append(scan_ref(root / common, key, tag="", files=_relative_to(common, folders)))
        return refs


def _relative_to(common: str, folders: Mapping[str, set[str]]) -> tuple[str, ...]:
    """The files of some folders, relative to a folder that contains them all."""
    names = (f"{folder}/{name}".removeprefix("/") for folder, files in folders.items() for name in files)
    return tuple(sorted(name.removeprefix(f"{common}/") for name in names))


def search_dicom(root: Path, tree: FolderListing) -> DicomFiles:
    """Find the CT series, and the folders whose files should be one."""
    from hilum.io.dicom.frames import select_slices
    from hilum.io.dicom.index import read_files

    dicom = DicomFiles()
    volume_folders = {folder_of(name) for name in tree.files if name.lower().endswith((".mhd", ".nhdr"))}
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


def folder_of(name: str) -> str:
    """The folder of a file, by its relative name."""
    return os.path.dirname(name)  # noqa: PTH120 - faster for thousands of names


def _upper_folders(name: str) -> list[str]:
    return name.split("/")[:-1][:_LEVELS]


def _refuse_folders(
    root: Path, dicom: DicomFiles, files: FileHeaders, damaged: list[str], volume_folders: set[str]
) -> None:
    """Refuse each folder without a CT slice that has files that look like slices.

    In `volume_folders`, which have headers of volumes, files without a suffix can be the data of these.
    """
    groups: defaultdict[str, tuple[list[str], list[str], list[str]]] = defaultdict(lambda: ([], [], []))
    for k, names in enumerate((files.not_dicom, damaged, files.unreadable)):
        for name in names:
            folder = folder_of(name)
            if suffix_of(Path(name)) not in SCAN_SUFFIXES and looks_like_dicom(name, bare=folder not in volume_folders):
                groups[folder][k].append(name)
    with_images = {folder_of(header.path) for header in files.headers if header.path not in damaged}
    for folder, (junk, broken, locked) in sorted(groups.items()):
        # Findings on the slices of a folder report such files. Among images of another kind they do not matter.
        if folder in dicom.done or (folder in with_images and not broken and not locked):
            continue
        dicom.refused.append(no_readable_slice(root, folder, junk=junk, damaged=broken, locked=locked))
        dicom.done.add(folder)


def _refuse_links(root: Path, dicom: DicomFiles, tree: FolderListing) -> None:
    """Refuse each folder in which slices, or all files, are links to content that is not here."""
    dangling: defaultdict[str, list[str]] = defaultdict(list)
    for name in tree.dangling:
        if suffix_of(Path(name)) not in SCAN_SUFFIXES:
            dangling[folder_of(name)].append(name)
    with_files = {folder_of(name) for name in tree.files}
    for folder, names in sorted(dangling.items()):
        if folder not in dicom.done and (folder not in with_files or any(map(looks_like_dicom, names))):
            dicom.refused.append(not_downloaded(root / folder, names))
