"""nnU-Net's raw data sets and the Medical Segmentation Decathlon: images, label maps of the same names, dataset.json.

Sources: https://github.com/MIC-DKFZ/nnUNet/blob/master/documentation/dataset_format.md and
http://medicaldecathlon.com (Task06_Lung). Both have ``imagesTr``, ``labelsTr`` and ``imagesTs``. The Decathlon writes
``"labels": {"1": "cancer"}``, nnU-Net ``{"tumor": 1}``, or ``{"whole": [1, 2], "core": 2}`` for regions that overlap.
nnU-Net's images end in the number of their channel, ``_0000``.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from hilum.datasets import folder
from hilum.datasets.listing import Listing, entries, scan_id_of
from hilum.errors import FormatError, HilumError, MissingInputError, UnsupportedError, one_line
from hilum.io import files
from hilum.io.names import safe_name
from hilum.io.volumes.formats import SCAN_SUFFIXES, stem_of, suffix_of
from hilum.scan import Label, Note
from hilum.scan_ref import DatasetEntry, LabelFile, ScanRef

_JSON = "dataset.json"
_LONGEST_JSON = 1 << 26
_CHANNEL = re.compile(r"(.+)_([0-9]{4})")
_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_OWN_ID = re.compile(r"ct-[0-9a-f]{16}(?:-[0-9]+)?")  # of a scan that hilum exported
_RESTORE = "restore it from the download"

load = folder.load


@dataclass(frozen=True)
class _Facts:
    """What dataset.json says.

    Parameters
    ----------
    values : tuple of (str, int)
        The names of the label maps' values.
    channels : dict of str to str
        The name of each channel, by its four digits; empty if the file names none.
    ending : str
        Suffix of all files; empty for any.
    counted : int
        The training cases that it counts; -1 if it does not.
    notes : tuple of Note
        What was odd about the file.
    """

    values: tuple[tuple[str, int], ...] = ()
    channels: Mapping[str, str] = field(default_factory=dict)
    ending: str = ""
    counted: int = -1
    notes: tuple[Note, ...] = ()


def recognize(root: Path) -> bool:
    """Whether a folder, or one in it, holds ``imagesTr`` with ``dataset.json`` or ``labelsTr`` beside it."""
    return bool(_data_sets(root))


def index(root: Path, annotations: Path | None = None) -> Listing:  # noqa: ARG001 - there are no tables
    """List the images, with their label maps, without reading voxels, as `hilum.datasets.Dataset.index`.

    Parameters
    ----------
    root : Path
        The folder with ``imagesTr``, or a folder of such data sets.
    annotations : Path, optional
        Not used.

    Returns
    -------
    Listing
        Every case of ``imagesTr`` and ``imagesTs`` by the image of its CT channel; ``labels["split"]`` is ``train`` or
        ``test``. A file with the name of the case in ``labelsTr`` or ``labelsTs`` becomes the label map ``labels``. A
        case with a public name is called by it.

    Raises
    ------
    FormatError, UnsupportedError
        If dataset.json cannot be used.
    MissingInputError
        If there is no such folder, or no image in it.
    """
    refs: list[ScanRef] = []
    notes: list[Note] = []
    refused: list[HilumError] = []
    for base in _data_sets(root) if files.path_exists(root) else []:
        found = _index_one(base)
        refs += found.refs
        notes += found.notes
        refused += found.refused
    if not refs and not refused:
        do = "give the folder that holds imagesTr"
        raise MissingInputError("has no image in imagesTr", where=root, do=do)
    seen: set[str] = set()
    for number, ref in enumerate(refs):
        if ref.scan_id in seen:
            refs[number] = replace(ref, scan_id=scan_id_of(str(ref.path.relative_to(root))))
        seen.add(refs[number].scan_id)
    return Listing(refs, notes=notes, refused=refused)


def _data_sets(root: Path) -> list[Path]:
    """The root if it is a data set, else those folders in it that are."""
    return [root] if _is_one(root) else [path for path in entries(root) if path.is_dir() and _is_one(path)]


def _is_one(path: Path) -> bool:
    return (path / "imagesTr").is_dir() and ((path / _JSON).is_file() or (path / "labelsTr").is_dir())


def _index_one(base: Path) -> Listing:
    facts = _read_facts(base / _JSON)
    notes = list(facts.notes)
    refs: list[ScanRef] = []
    refused: list[HilumError] = []
    trained = 0
    folds = _folds(base / "splits_final.json")
    for split, images, labels in (("train", "imagesTr", "labelsTr"), ("test", "imagesTs", "labelsTs")):
        label_files = {stem_of(path): path for path in _volumes(base / labels, facts)}
        cases = dict(_cases(base / images, facts, label_files, refused))
        trained = len(cases) if split == "train" else trained
        for case, path in cases.items():
            given: dict[str, Label] = {"split": split, **({"fold": folds[case]} if case in folds else {})}
            found = label_files.get(case)
            maps = (LabelFile(found, "map", "labels", facts.values),) if found else ()
            is_public = (safe_name(case) and _ID.fullmatch(case)) or _OWN_ID.fullmatch(case)
            scan_id = case if is_public else scan_id_of(f"{base.name}/{case}")
            known = DatasetEntry(labels=given)
            refs.append(ScanRef("nnunet", scan_id, path, known=known, label_files=maps))
        notes += _pairing_notes(labels, cases, label_files, split=split)
    if 0 <= facts.counted != trained:
        what = f"{_JSON} counts {facts.counted} training cases, {trained} are here"
        notes.append(Note("case-count", what))
    return Listing(refs, notes=notes, refused=refused)


def _cases(
    folder: Path, facts: _Facts, labels: Mapping[str, Path], refused: list[HilumError]
) -> Iterator[tuple[str, Path]]:
    """The cases of a folder of images, each with the image of its CT; refuses those without one."""
    images = {stem_of(path): path for path in _volumes(folder, facts)}
    numbered = {stem: match for stem in images if (match := _CHANNEL.fullmatch(stem))}
    has_channels = bool(numbered) and (bool(facts.channels) or not labels.keys() & images.keys())
    if not has_channels:
        yield from images.items()
        return
    ct = _ct_channel(facts)
    channels: dict[str, dict[str, Path]] = {}
    for stem, path in images.items():
        if match := numbered.get(stem):
            channels.setdefault(match[1], {})[match[2]] = path
        else:
            what = f"has no number of a channel at the end of its name, such as case_{ct}"
            refused.append(UnsupportedError(what, where=path, do="rename it", code="no-channel"))
    for case, several in channels.items():
        if ct in several:
            yield case, several[ct]
        else:
            path = next(iter(several.values()))
            what = f"the channel of the CT, {ct}, is not here"
            refused.append(MissingInputError(what, where=path, do="add it", code="no-channel"))


def _ct_channel(facts: _Facts) -> str:
    """The number of the CT channel: the one that is called so, else the first."""
    called = [number for number, name in facts.channels.items() if name.strip().lower() == "ct"]
    return called[0] if len(called) == 1 else min(facts.channels, default="0000")


def _volumes(path: Path, facts: _Facts) -> list[Path]:
    if facts.ending:
        return [found for found in entries(path) if found.name.endswith(facts.ending)]
    return [found for found in entries(path) if suffix_of(found) in SCAN_SUFFIXES]


def _pairing_notes(labels: str, cases: Mapping[str, Path], found: Mapping[str, Path], *, split: str) -> Iterator[Note]:
    without, unused = len(cases.keys() - found.keys()), len(found.keys() - cases.keys())
    if without and split == "train":
        yield Note("scans-without-labels", f"{without} of {len(cases)} scans have no label map in {labels}")
    elif without:
        yield Note("scans-without-labels", f"{without} scans of the test set have no label map")
    if unused:
        yield Note("labels-without-scan", f"{unused} label maps in {labels} belong to no scan: left out")


def _read_facts(path: Path) -> _Facts:
    """Read and check dataset.json."""
    if not path.is_file():
        what = f"there is no {_JSON}: the values of the label maps have no names"
        return _Facts(notes=(Note("no-dataset-json", what),))
    content = _read_json(path)
    if not isinstance(content, dict):
        raise FormatError("is not a JSON object", where=path, do=_RESTORE)
    ending = content.get("file_ending", "")
    if ending and (not isinstance(ending, str) or ending not in SCAN_SUFFIXES):
        what = f"names files that end in {one_line(str(ending), limit=20)}, which hilum does not read"
        raise UnsupportedError(what, where=path, do="give NIfTI, NRRD or MetaImage")
    values, regions = _read_labels(content.get("labels", {}), path)
    names = content.get("channel_names", {})
    if not isinstance(names, dict) or not all(str(key).isdigit() for key in names):
        raise FormatError("channel_names is not a table of channels by number", where=path, do=_RESTORE)
    channels = {f"{int(key):04d}": str(name) for key, name in names.items()}
    listed = content.get("training")
    counted = len(listed) if isinstance(listed, list) else content.get("numTraining", -1)
    facts = _Facts(values, channels, ending, counted if isinstance(counted, int) else -1)
    notes = []
    if len(channels) > 1:
        what = f"the images have {len(channels)} channels: only {_ct_channel(facts)} is read, as the CT"
        notes.append(Note("one-channel", what))
    if regions:
        what = f"labels that overlap: {one_line('; '.join(regions), limit=200)}; the label maps keep their values"
        notes.append(Note("region-labels", what))
    return replace(facts, notes=tuple(notes))


def _read_labels(labels: object, path: Path) -> tuple[tuple[tuple[str, int], ...], list[str]]:
    """The name of each value, and a text for each region of several values.

    A value that no region has alone is named by its number.
    """
    if not isinstance(labels, dict) or not labels:
        raise FormatError("names no labels", where=path, do=_RESTORE)
    names: dict[int, str] = {}
    present: set[int] = set()
    regions = []
    for key, value in labels.items():
        if isinstance(value, str):  # the Decathlon's way: {"1": "cancer"}
            name, numbers = value, [int(key)] if key.isdigit() else []
        else:
            name, numbers = key, value if isinstance(value, list) else [value]
        name = one_line(name, limit=64)
        if not numbers or not all(type(number) is int and 0 <= number <= 255 for number in numbers):
            what = f"the label {name!r} is not a whole number from 0 to 255, or a list of them"
            raise FormatError(what, where=path, do=_RESTORE)
        present.update(numbers)
        if len(numbers) > 1:
            regions.append(f"{name} is {', '.join(map(str, numbers))}")
        elif names.setdefault(numbers[0], name) != name:
            what = f"the value {numbers[0]} has two names, {names[numbers[0]]!r} and {name!r}"
            raise FormatError(what, where=path, do=_RESTORE)
    values = tuple((names.get(number, str(number)), number) for number in sorted(present - {0}))
    if len({name for name, _ in values}) < len(values):
        raise FormatError("gives two values one name", where=path, do=_RESTORE)
    return values, regions


def _folds(path: Path) -> dict[str, int]:
    """The fold of each case: the split that it validates. Only splits in which each case has one fold count."""
    content: Any = _read_json(path) if path.is_file() else []
    folds: dict[str, int] = {}
    for number, split in enumerate(content if isinstance(content, list) else []):
        cases: Sequence[object] = split.get("val", ()) if isinstance(split, dict) else ()
        for case in cases:
            if folds.setdefault(str(case), number) != number:
                return {}
    return folds


def _read_json(path: Path) -> Any:
    try:
        return msgspec.json.decode(files.read_small(path, limit=_LONGEST_JSON))
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        what = f"is not valid JSON: {one_line(problem, limit=100)}"
        raise FormatError(what, where=path, do=_RESTORE) from None
