"""Regions of DICOM structure sets and segmentations, chosen by name for the scans to which their files refer.

A choice is written ``PATTERN``, ``PATTERN=NAME`` or ``FILE:PATTERN=NAME``: ``Lung*``, ``GTV-1=tumor``,
``*/final/*.dcm:GTV-1=tumor``. PATTERN is the name of a region, or a pattern for it; what fits nothing is tried again
without regard to upper and lower case. NAME is that of the label map. FILE is a pattern for the name or path of the
file, or its kind, ``rtstruct`` or ``seg``.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hilum.datasets.dicom_search import REGIONS
from hilum.errors import AnnotationError, HilumError, InputError, name_some, one_line
from hilum.io import archives
from hilum.io.files import path_exists
from hilum.io.folders import list_folder, output_kind
from hilum.io.labels.map_names import DEVICE, map_name
from hilum.io.volumes.formats import SCAN_SUFFIXES, is_volume, suffix_of
from hilum.scan import Note
from hilum.scan_ref import LabelFile, ScanRef

if TYPE_CHECKING:
    from hilum.io.labels.regions import RegionList

_NAME = re.compile(r"[a-z0-9_-]{1,48}")  # of a label map


class RegionFile(NamedTuple):
    """A structure set or segmentation.

    Parameters
    ----------
    path : Path
        The DICOM file.
    listed : RegionList
        The regions in it.
    """

    path: Path
    listed: "RegionList"


class _Choice(NamedTuple):
    """A choice of regions as the user wrote it, and its parts; `file` and `name` may be empty."""

    text: str
    file: str
    pattern: str
    name: str


@dataclass(frozen=True)
class Attached:
    """Scans with the files of their regions.

    Parameters
    ----------
    refs : list of ScanRef
        In the order in which they were given.
    notes : list of Note
        What was odd about the files.
    refused : list of HilumError
        One for each file that cannot be read.
    """

    refs: list[ScanRef]
    notes: list[Note] = field(default_factory=list)
    refused: list[HilumError] = field(default_factory=list)


def read_region_files(paths: Iterable[Path]) -> tuple[list[RegionFile], list[HilumError]]:
    """List the regions of files; a copy of a file does not count.

    Returns
    -------
    files : list of RegionFile
    refused : list of HilumError
        One for each file that cannot be read.
    """
    from hilum.io.labels.regions import list_regions

    files: dict[str, RegionFile] = {}
    refused: list[HilumError] = []
    for path in sorted(paths):
        try:
            listed = list_regions(path)
        except HilumError as error:
            refused.append(error)
            continue
        files.setdefault(listed.sop_uid or str(path), RegionFile(path, listed))
    return list(files.values()), refused


def files_of_scans(refs: Sequence[ScanRef], files: Sequence[RegionFile]) -> list[list[RegionFile]]:
    """The files that refer to each scan: to its series or, if they name none, to its frame of reference."""
    by_series: defaultdict[str, list[RegionFile]] = defaultdict(list)
    by_frame: defaultdict[str, list[RegionFile]] = defaultdict(list)
    for file in files:
        for uid in file.listed.series_uids:
            by_series[uid].append(file)
        for uid in file.listed.frame_uids if not file.listed.series_uids else ():
            by_frame[uid].append(file)
    several = []
    for ref in refs:
        found = by_series.get(ref.series_uid, []) if ref.series_uid else []
        several.append([*found, *(by_frame.get(_frame_of(ref), []) if by_frame else [])])
    return several


def regions_alone(root: Path) -> list[Path]:
    """The structure sets and segmentations of a file or folder that has nothing else in DICOM.

    Parameters
    ----------
    root : Path
        The file or folder to search.

    Returns
    -------
    list of Path
        Empty if there is a CT slice, a volume file or an archive, or no such path.
    """
    from hilum.io.dicom.index import read_files

    if archives.is_archive(root) or is_volume(root) or not path_exists(root) or output_kind(root):
        return []
    names = [root.name] if root.is_file() else list_folder(root).files
    parent = root.parent if root.is_file() else root
    if any(archives.is_archive(parent / name) or suffix_of(Path(name)) in SCAN_SUFFIXES for name in names):
        return []
    found: list[Path] = []
    for name in names:
        headers = read_files(parent, [name]).headers
        if any(header.modality not in REGIONS for header in headers):
            return []
        found += [parent / name] if headers else []
    return found


def _frame_of(ref: ScanRef) -> str:
    """The frame of reference of a DICOM series; empty for other scans."""
    if not ref.files or archives.is_archive(ref.path):
        return ""
    from hilum.io.dicom.index import read_files

    headers = read_files(ref.path, ref.files[:1]).headers
    return headers[0].frame_uid if headers else ""


def count_note(count: int) -> Note:
    """Report the files of regions that nobody asked for."""
    what = f"{count} structure sets or segmentations are here: --roi takes their regions, hilum info lists them"
    return Note("region-files", what)


def attach_regions(
    refs: Sequence[ScanRef], paths: Iterable[Path], choices: Sequence[str], *, xor: bool = False
) -> Attached:
    """Give each scan the chosen regions of the files that refer to it.

    Parameters
    ----------
    refs : sequence of ScanRef
        The scans to give regions to.
    paths : iterable of Path
        Structure sets and segmentations.
    choices : sequence of str
        As the module describes them.
    xor : bool
        As in `LabelFile`.

    Returns
    -------
    Attached
        A scan for which a choice is ambiguous is refused when it is loaded.

    Raises
    ------
    InputError
        If a choice is malformed.
    AnnotationError
        If there is no file that refers to a scan, or a choice fits no region of any scan.
    """
    files, refused = read_region_files(paths)
    parsed = [_parse(text, files) for text in choices]
    several = files_of_scans(refs, files)
    used = {file.path for found in several for file in found}
    if not used:
        what = "no structure set or segmentation refers to any of the scans"
        if refused:
            raise refused[0]
        do = "give an input that holds both, or leave --roi out"
        raise AnnotationError(what if files else "no structure set or segmentation is here", do=do, code="no-regions")
    attached = []
    hits = dict.fromkeys(parsed, 0)
    for ref, found in zip(refs, several, strict=True):
        chosen = {choice: _fitting(choice, found) for choice in parsed}
        for choice, regions in chosen.items():
            hits[choice] += bool(regions)
        try:
            attached.append(replace(ref, label_files=(*ref.label_files, *_label_files(chosen, xor=xor))))
        except AnnotationError as error:
            attached.append(replace(ref, known=replace(ref.known, refusal=error)))
    for choice, count in hits.items():
        if not count:
            names = dict.fromkeys(name for found in several for file in found for name in file.listed.names)
            there = ", ".join(f"'{name}'" for name in names)
            what = f"--roi '{choice.text}' fits no region; there are {one_line(there, limit=180)}"
            raise AnnotationError(what, do="choose one of them", code="no-such-region")
    return Attached(attached, [*_missing_notes(hits, len(refs)), *_elsewhere_notes(files, used)], refused)


def _parse(text: str, files: Sequence[RegionFile]) -> _Choice:
    """Split a choice; what stands before a colon is a file only if there is such a file."""
    file, colon, rest = text.partition(":")
    is_file = bool(colon and rest) and (file in {"rtstruct", "seg"} or any(_is_of(file, one) for one in files))
    pattern, equals, name = (rest if is_file else text).rpartition("=")
    if not equals:
        pattern, name = name, ""
    if not pattern.strip():
        what = f"--roi '{text}' names no region"
        raise InputError(what, do="write PATTERN or PATTERN=NAME, such as 'Lung*' or GTV-1=tumor", code="option")
    if equals and (DEVICE.fullmatch(name) or not _NAME.fullmatch(name)):
        what = f"--roi '{text}': a label map cannot be called '{name}'"
        raise InputError(what, do="take up to 48 of the characters a-z 0-9 _ -", code="option")
    return _Choice(text, file if is_file else "", pattern, name)


def _is_of(pattern: str, file: RegionFile) -> bool:
    """Whether a pattern for files fits a file: its kind, or the end of its path with as many parts."""
    end = "/".join(file.path.parts[-1 - pattern.count("/") :])
    return pattern in {"", file.listed.kind} or fnmatchcase(end, pattern)


def _fitting(choice: _Choice, files: Sequence[RegionFile]) -> list[tuple[RegionFile, str]]:
    """The regions that a choice fits: by their very names, else by its pattern, else without regard to case."""
    mine = [file for file in files if _is_of(choice.file, file)]
    there = [(file, name) for file in mine for name in file.listed.names]
    folded = choice.pattern.casefold()
    return (
        [one for one in there if one[1] == choice.pattern]
        or [(file, choice.pattern) for file in mine if any(r.name == choice.pattern for r in file.listed.regions)]
        or [one for one in there if fnmatchcase(one[1], choice.pattern)]
        or [one for one in there if fnmatchcase(one[1].casefold(), folded)]
    )


def _label_files(chosen: dict[_Choice, list[tuple[RegionFile, str]]], *, xor: bool) -> list[LabelFile]:
    """The files of a scan with the regions that are taken from each.

    Raises
    ------
    AnnotationError
        If two regions would become one label map.
    """
    maps: dict[str, tuple[RegionFile, str]] = {}
    for choice, regions in chosen.items():
        for file, region in regions:
            name = choice.name or map_name(region)
            other = maps.setdefault(name, (file, region))
            if other == (file, region):
                continue
            if other[1] == region:
                mine, names = _told_apart(file, other[0])
                what = f"several files have the region '{region}': {names}"
                do = f"name the file: --roi '{mine}:{region}'"
            else:
                what = f"the regions '{other[1]}' and '{region}' would both become the label map {name}"
                do = "choose one of them, or give each a name: --roi PATTERN=NAME"
            raise AnnotationError(what, do=do, code="ambiguous-region")
    by_file: defaultdict[Path, list[tuple[str, str]]] = defaultdict(list)
    kinds = {file.path: file.listed.kind for file, _ in maps.values()}
    for name, (file, region) in maps.items():
        by_file[file.path].append((region, name))
    return [LabelFile(path, kinds[path], regions=tuple(regions), xor=xor) for path, regions in by_file.items()]


def _told_apart(file: RegionFile, other: RegionFile) -> tuple[str, str]:
    """A choice that takes a file and not another one, and the names of both."""
    if file.listed.kind != other.listed.kind:
        return file.listed.kind, f"a {other.listed.kind} and a {file.listed.kind}"
    parts = 1 + (file.path.name == other.path.name)
    one, two = ("/".join(each.path.parts[-parts:]) for each in (file, other))
    return one, name_some(f"'{name}'" for name in (two, one))


def _missing_notes(hits: dict[_Choice, int], scans: int) -> list[Note]:
    notes = []
    for choice, count in hits.items():
        if count < scans:
            what = f"{scans - count} of {scans} scans have no region for"
            notes.append(Note("scans-without-region", f"{what} a --roi", f"{what} --roi '{choice.text}'"))
    return notes


def _elsewhere_notes(files: Sequence[RegionFile], used: set[Path]) -> list[Note]:
    rest = [file for file in files if file.path not in used]
    if not rest:
        return []
    what = f"{len(rest)} structure sets or segmentations refer to no series here"
    return [Note("regions-elsewhere", what, f"{what}: {name_some(file.path.name for file in rest)}")]
