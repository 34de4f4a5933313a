"""Find the label maps of listed scans by the names of files.

A label map belongs to the scan whose name its own name begins with:

1. ``case1.nii.gz`` in another folder, or ``case1_seg.nii.gz``, ``case1.lungs.nii.gz`` anywhere: the name of the scan,
   then ``_``, ``-`` or ``.`` and a suffix, which names the label map. Without a suffix its folder names it.
2. ``case1/tumor.nii.gz``: a folder with the name of the scan; the file names the label map.

The names of a scan are its series UID, its public case, its file without the suffix, and its folder. In nnU-Net's
folders the number of the channel, ``_0000``, does not count. Of two scans the one with the longer name gets the file.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hilum.datasets.naming import possible_names
from hilum.errors import AnnotationError, MissingInputError, UnsupportedError
from hilum.io.folders import list_folder
from hilum.io.labels.map_names import map_name, split_named
from hilum.io.volumes.formats import SCAN_SUFFIXES, is_volume, stem_of, suffix_of
from hilum.scan import Note
from hilum.scan_ref import LabelFile, LabelGrid, ScanRef

_CHANNEL = re.compile(r"_0000$")
_SET = re.compile(r"(?i)(?<=.)_?(?:tr|ts|val)$")  # of a folder's name: labelsTr

RULE = "NAME.nii.gz, NAME_suffix.nii.gz or NAME/label.nii.gz for a scan called NAME"


@dataclass(frozen=True)
class LabelRequest:
    """Which label maps a user wants.

    Parameters
    ----------
    sources : tuple of str
        Each a folder, or a pattern of file names with ``*`` for the name of the scan; with ``NAME=`` in front, the
        label map has that name.
    grid : {"world", "voxels"}
        As `hilum.io.labels.label_maps.read_label_map` takes it.
    """

    sources: tuple[str, ...] = ()
    grid: LabelGrid = "world"


@dataclass(frozen=True)
class _Found:
    """A label map by its file: the names that the scan could have, longest first, with what is left of the name."""

    path: Path
    candidates: tuple[tuple[str, str], ...]


def pair_labels(
    refs: Sequence[ScanRef], request: LabelRequest, *, inputs: Iterable[Path]
) -> tuple[list[ScanRef], list[Note]]:
    """Give each scan the label maps that a user asked for.

    Parameters
    ----------
    refs : sequence of ScanRef
        The scans to give label maps to.
    request : LabelRequest
        What the user asked for.
    inputs : iterable of Path
        Where patterns are looked for, besides the current folder.

    Returns
    -------
    refs : list of ScanRef
        Without those that are label maps themselves.
    notes : list of Note
        Codes ``"labels-paired"``, ``"scans-without-labels"``, ``"labels-without-scan"``.

    Raises
    ------
    MissingInputError
        If a folder does not exist, or no file fits a pattern.
    AnnotationError
        If no label map belongs to a scan, or a scan would get two of one name.
    UnsupportedError
        If a file is of another kind.
    """
    if request.grid != "world":  # also for the label maps of data sets
        refs = [replace(ref, label_files=tuple(replace(f, grid=request.grid) for f in ref.label_files)) for ref in refs]
    notes: list[Note] = []
    paired: defaultdict[int, list[LabelFile]] = defaultdict(list)
    found = [(source, *_find(source, inputs)) for source in request.sources]
    own = {path.resolve() for _, _, several in found for path in (one.path for one in several)}
    scans = [ref for ref in refs if ref.path.resolve() not in own]
    names = _scans_by_name(scans)
    for source, name, several in found:
        without = 0
        given: set[int] = set()
        for one in several:
            match = next(((names[key], rest) for key, rest in one.candidates if len(names.get(key, ())) == 1), None)
            if match is None:
                without += 1
                continue
            (number,), rest = match
            given.add(number)
            if any(file.path.resolve() == one.path.resolve() for file in scans[number].label_files):
                continue  # its data set gives it this label map
            _add(paired[number], LabelFile(one.path, "map", map_name(name or rest), grid=request.grid), scans[number])
        if several and scans and not given:
            what = f"no label map of {source!r} belongs to any of the {len(scans)} scans"
            do = f"name them as the scans: {RULE}"
            raise AnnotationError(what, where=several[0].path, do=do, code="no-label-fits")
        notes += _notes(source, len(given), len(scans), without)
    return [replace(ref, label_files=(*ref.label_files, *paired[k])) for k, ref in enumerate(scans)], notes


def _find(source: str, inputs: Iterable[Path]) -> tuple[str, list[_Found]]:
    """The label maps of one source, and the name that the user gave them."""
    name, where = split_named(source)
    path = Path(where)
    if path.is_dir():
        files = [path / found for found in list_folder(path).files if suffix_of(Path(found)) in SCAN_SUFFIXES]
        if not files:
            raise MissingInputError("holds no label map", where=path, do="give a folder of NIfTI, NRRD or MetaImage")
        return name, [_Found(file, tuple(_candidates(file, _SET.sub("", path.resolve().name)))) for file in files]
    if "*" in where:
        return name, _match_pattern(where, inputs)
    if not path.exists():
        what = "there is no such folder of label maps"
        raise MissingInputError(what, where=path, do="check --labels, or give a pattern with * for the scan's name")
    if not is_volume(path):
        what = "is no label map that hilum reads"
        raise UnsupportedError(what, where=path, do="give a folder or file of NIfTI, NRRD or MetaImage")
    return name, [_Found(path, tuple(_candidates(path, path.resolve().parent.name)))]


def _match_pattern(pattern: str, inputs: Iterable[Path]) -> list[_Found]:
    """The files that fit a pattern; what ``*`` stands for in the name of the file or folder is the scan's name."""
    expression = re.compile("([^/]*)".join(map(re.escape, pattern.replace("**/", "").split("*"))))
    literal = [part.strip("._-") for part in re.split(r"[*/]", pattern.removesuffix(suffix_of(Path(pattern))))]
    rest = next((part for part in reversed(literal) if part), "labels")
    found: dict[Path, _Found] = {}
    whole = Path(pattern)
    roots, within = list(inputs), f"**/{pattern}"
    if whole.is_absolute():
        roots, within = [Path(whole.anchor)], whole.relative_to(whole.anchor).as_posix()
    elif "/" in pattern:
        roots, within = [Path.cwd(), *roots], pattern
    for root in roots:
        folder = root if root.is_dir() else root.parent
        for file in sorted(folder.glob(within)):
            match = expression.search(file.as_posix())
            if match and is_volume(file):
                keys = sorted(set(filter(None, match.groups())), key=len, reverse=True)
                found[file.resolve()] = _Found(file, tuple((key, rest) for key in keys))
    if not found:
        what = f"no file fits the pattern {pattern!r}"
        raise MissingInputError(what, do="check --labels: * stands for the name of the scan", code="missing")
    return list(found.values())


def _candidates(file: Path, folder: str) -> Iterable[tuple[str, str]]:
    """The names that the scan of a label map could have, longest first, each with what names the label map."""
    stem = stem_of(file)
    yield stem, folder
    yield from ((stem[: match.start()], stem[match.end() :]) for match in reversed(list(re.finditer(r"[._-]", stem))))
    yield file.parent.name, stem


def _scans_by_name(scans: Sequence[ScanRef]) -> dict[str, list[int]]:
    names: defaultdict[str, list[int]] = defaultdict(list)
    for number, ref in enumerate(scans):
        known = {ref.series_uid, ref.case, ref.scan_id, *possible_names(ref).values()}
        for name in {*known, *(_CHANNEL.sub("", name) for name in known)} - {""}:
            names[name].append(number)
    return names


def _add(files: list[LabelFile], file: LabelFile, ref: ScanRef) -> None:
    if any(other.name == file.name for other in files):
        what = f"two label maps called {file.name!r} belong to the scan {ref.path.name}"
        raise AnnotationError(what, where=file.path, do="leave one out, or name them with NAME=", code="two-labels")
    files.append(file)


def _notes(source: str, given: int, scans: int, without: int) -> list[Note]:
    shown = Path(source).name
    what = f"{given} of {scans} scans have a label map ({RULE})"
    notes = [Note("labels-paired", what, f"{shown}: {what}")]
    if given < scans:
        notes.append(Note("scans-without-labels", f"{scans - given} of {scans} scans have no label map"))
    if without:
        notes.append(Note("labels-without-scan", f"{without} label maps belong to no scan: left out"))
    return notes
