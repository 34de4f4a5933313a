"""Find which predicted mask belongs to which true one: files in folders, scans of runs, or masks in memory by name.

Files are paired as ``hilum run --labels`` pairs label maps with scans. Nothing is left out silently: a true mask
without a prediction, or with two, is refused.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from hilum.datasets.labels import RULE, LabelRequest, pair_labels
from hilum.errors import AnnotationError, InputError, InputTypeError, MissingInputError, name_some, name_type
from hilum.io.files import as_path
from hilum.io.folders import list_folder
from hilum.io.labels.label_maps import read_mask
from hilum.io.volumes.formats import SCAN_SUFFIXES, stem_of, suffix_of
from hilum.outputs import ledger
from hilum.outputs.folds import read_folds
from hilum.outputs.scans_index import read_origins
from hilum.runs.run import AnyRun, open_run
from hilum.runs.run_scan import RunScan
from hilum.scan import Note
from hilum.scan_ref import ScanRef
from hilum.train.label_maps import NODULES, mask_part
from hilum.volume import Mask

LUNGS = "lungs"

Masks = AnyRun | Mapping[str, Mask] | Mask


class MaskPair(NamedTuple):
    """A case, its patient if that is known, and what reads its masks."""

    case: str
    patient: str
    prediction: Callable[[], Mask]
    truth: Callable[[], Mask]


class _Listed(NamedTuple):
    """A mask that was found: what identifies it, its patient if known, and what reads it."""

    ref: ScanRef
    patient: str
    read: Callable[[], Mask]


def find_pairs(
    predictions: Masks, truth: Masks, *, labels: str = LUNGS, allow_missing: bool = False
) -> tuple[list[MaskPair], list[Note]]:
    """Pair predicted masks with true ones.

    Parameters
    ----------
    predictions, truth : path, Run, mapping of str to Mask, or Mask
        Files, folders of files, runs; or masks by the names of their cases.
    labels : str
        Of a run: ``lungs``, ``nodules`` (all as one), or the name of a label map.
    allow_missing : bool
        Leave out true masks without a prediction, instead of refusing.

    Returns
    -------
    list of MaskPair
        Sorted by case.
    list of Note
        Codes ``"masks-paired"``, ``"truth-without-prediction"``, ``"prediction-without-truth"``.

    Raises
    ------
    InputError
        If a path holds no mask, none fits the other side, two predictions fit one case, or a true mask has none.
    InputTypeError
        If an argument has another type, or one is masks and the other a path.
    """
    if isinstance(predictions, Mask) and isinstance(truth, Mask):
        return [MaskPair("mask", "", lambda: predictions, lambda: truth)], []
    if isinstance(predictions, Mapping) and isinstance(truth, Mapping):
        made = _in_memory(predictions), _in_memory(truth)
        matched = {name: name for name in made[0] if name in made[1]}
    elif isinstance(predictions, Mask | Mapping) or isinstance(truth, Mask | Mapping):
        what = f"{name_type(predictions)} cannot be compared with {name_type(truth)}"
        raise InputTypeError(what, do="give two paths, two masks, or two dicts of masks")
    else:
        made = _list(as_path(predictions), labels), _list(as_path(truth), labels)
        matched = _match(as_path(predictions), as_path(truth), *made)
    return _pairs(*made, matched, allow_missing=allow_missing)


def _in_memory(masks: Mapping[str, Mask]) -> dict[str, _Listed]:
    if wrong := [name for name, mask in masks.items() if not isinstance(mask, Mask)]:
        do = "hilum.read_mask(...) reads one, hilum.Mask.from_array(...) makes one of an array"
        raise InputTypeError(f"{name_type(masks[wrong[0]])} is no mask", where=str(wrong[0]), do=do)
    return {name: _Listed(ScanRef("mask", name, Path(name)), "", partial(masks.get, name)) for name in masks}  # type: ignore[arg-type]


def _is_run(path: Path) -> bool:
    return (path / ledger.NAME).is_file()


def _list(path: Path, labels: str) -> dict[str, _Listed]:
    """The masks at a path, by the names of their cases."""
    if _is_run(path):
        return _list_run(path, labels)
    if not path.exists():
        raise MissingInputError("there is no such file or folder", where=path, do="check the path")
    names = list_folder(path).files if path.is_dir() else [""]
    files = [path / name for name in names if not name or suffix_of(Path(name)) in SCAN_SUFFIXES]
    if not files:
        what = "holds no mask"
        raise MissingInputError(what, where=path, do="give files of NIfTI, NRRD or MetaImage, or a run")
    # By their own names; where several have one, such as case1/tumor.nii.gz, by those of their folders.
    named = [[stem_of(file) for file in files], [file.parent.name for file in files]]
    cases = next((names for names in named if len(set(names)) == len(files)), names)
    return {
        case: _Listed(ScanRef("folder", case, file, case=case), "", partial(read_mask, file))
        for case, file in zip(cases, files, strict=True)
    }


def _list_run(path: Path, labels: str) -> dict[str, _Listed]:
    run, folds, origins = open_run(path), read_folds(path), read_origins(path)
    part, listed = LUNGS if labels == LUNGS else mask_part(labels), {}
    for scan in run:
        if scan.format_of(part):
            case = origins[scan.scan_id].case if scan.scan_id in origins else ""
            patient = folds.scans[scan.scan_id].patient if folds and scan.scan_id in folds.scans else case
            ref = ScanRef("run", scan.scan_id, scan.folder, scan.uid, case=case)
            listed[scan.scan_id] = _Listed(ref, patient, partial(_mask_of, scan, labels))
    if not listed:
        what = f"no scan of the run has {labels}"
        raise MissingInputError(what, where=path, do="give --labels lungs, nodules or the name of a label map")
    return listed


def _mask_of(scan: RunScan, labels: str) -> Mask:
    mask = scan.lungs if labels == LUNGS else scan.nodule_mask if labels == NODULES else scan.label_maps[labels].mask
    if mask is None:
        raise MissingInputError(f"has no {labels}", where=scan.folder, do="run it again")
    return Mask((mask.array > 0).view("u1"), mask.geometry, {1: NODULES}) if labels == NODULES else mask


def _match(predictions: Path, truth: Path, ours: dict[str, _Listed], theirs: dict[str, _Listed]) -> dict[str, str]:
    """The case of the truth for each prediction that has one."""
    if predictions.resolve() == truth.resolve():
        raise InputError("predictions and truth are the same", where=truth, do="give two paths")
    if predictions.is_file() and truth.is_file():
        return dict(zip(ours, theirs, strict=True))
    if _is_run(predictions) and _is_run(truth):
        return {name: name for name in ours if name in theirs}
    # The names of a run's scans are known best; of two folders those of the truth count.
    named, source, files = (ours, truth, theirs) if _is_run(predictions) else (theirs, predictions, ours)
    refs, _ = pair_labels([one.ref for one in named.values()], LabelRequest((str(source),)), inputs=())
    by_path = {one.ref.path.resolve(): name for name, one in files.items()}
    matched: dict[str, str] = {}
    for ref in refs:
        fitting = [by_path[file.path.resolve()] for file in ref.label_files]
        if len(fitting) > 1:
            what = f"{len(fitting)} masks belong to the case {ref.scan_id}: {name_some(fitting)}"
            do = f"keep one for each case, called {RULE.partition(' for')[0]}"
            raise AnnotationError(what, where=source, do=do, code="two-labels")
        matched |= dict.fromkeys(fitting, ref.scan_id)
    return matched if files is ours else {case: name for name, case in matched.items()}


def _pairs(
    ours: dict[str, _Listed], theirs: dict[str, _Listed], matched: dict[str, str], *, allow_missing: bool
) -> tuple[list[MaskPair], list[Note]]:
    pairs = []
    for name, case in matched.items():
        patient = theirs[case].patient or ours[name].patient
        pairs.append(MaskPair(case, patient, ours[name].read, theirs[case].read))
    missing, extra = set(theirs) - set(matched.values()), set(ours) - set(matched)
    if not pairs:
        what = f"none of the {len(ours)} predictions has the name of one of the {len(theirs)} true masks"
        raise AnnotationError(what, do=f"name them alike: {RULE}", code="no-label-fits")
    notes = [Note("masks-paired", f"{len(pairs)} cases by their names ({RULE})")]
    if missing:
        what = f"{len(missing)} of {len(theirs)} true masks have no prediction: {name_some(sorted(missing))}"
        if not allow_missing:
            do = "predict them (an empty mask counts), or give --allow-missing"
            raise AnnotationError(what, do=do, code="no-label-fits")
        notes.append(Note("truth-without-prediction", what))
    if extra:
        what = f"{len(extra)} of {len(ours)} predictions have no true mask: {name_some(sorted(extra))}"
        notes.append(Note("prediction-without-truth", what))
    return sorted(pairs, key=lambda pair: pair.case), notes
