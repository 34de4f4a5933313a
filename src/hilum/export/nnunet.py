"""A data set for nnU-Net, version 2: images, labels, ``dataset.json``, and splits that keep each patient together."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import hilum
from hilum.errors import FormatError, InputError, MissingInputError
from hilum.export import raw_folder
from hilum.export.checked_run import checked_run
from hilum.export.raw_folder import ENDING
from hilum.io import atomic, scan_files
from hilum.outputs import records
from hilum.outputs.finished import LABELS
from hilum.runs.run import AnyRun, open_run
from hilum.train.label_maps import LUNG_CLASSES, label_values, mask_part
from hilum.train.runs import ListedScan, Skip
from hilum.volume import Mask

_OWN: dict[str, dict[str, int]] = {"lungs": LUNG_CLASSES, "nodules": {"nodule": 1}}
"""The classes of the masks that hilum makes, and their values there; every nodule is one class."""

SPLITS = "splits_final.json"


class NnunetDataset(NamedTuple):
    """The folder that was written, its cases, folds and classes, and what was left out.

    ``overlap`` counts the voxels of label maps in which another label was before.
    """

    folder: Path
    cases: int
    folds: int
    skipped: list[Skip]
    classes: dict[str, int]
    overlap: int


class _Layer(NamedTuple):
    """A stored mask, and the class of each of its values, by value; 0 for none."""

    part: str
    classes: NDArray[np.uint8]


def write_nnunet(
    folder: AnyRun,
    raw: Path,
    *,
    number: int = 501,
    name: str = "Hilum",
    labels: str = "both",
    overwrite: bool = False,
) -> NnunetDataset:
    """Write a finished run as a data set of nnU-Net. The data set appears only when complete.

    Parameters
    ----------
    folder : str or path
        The output folder of ``hilum run``, or a `hilum.Run`, of any format, in HU.
    raw : Path
        nnU-Net's ``nnUNet_raw``; made if it is missing. Images that are NIfTI already are hard links to the run's
        files, or copies if the file system has no hard links.
    number : int
        1 to 999.
    name : str
        Letters, digits, and the underscore.
    labels : str
        ``"lungs"``, ``"nodules"`` and names of label maps, with commas between them; ``"both"`` is lungs and nodules.
        ``"labels/NAME"`` is a label map whatever its name. Classes are numbered in this order; a voxel with several
        labels gets the last one. Scans that lack one of them are left out: the lung mask, the annotations, the label
        map.
    overwrite : bool
        Replace an earlier export of that number and name.

    Returns
    -------
    NnunetDataset

    Raises
    ------
    InputError
        If the run is not complete or not in HU, or no scan has the labels, or they have more than 255 classes.
    OutputError
        If there is another data set of that number, or the file system refuses.
    """
    final = raw_folder.choose(raw, "Dataset", number=number, name=name, overwrite=overwrite)
    run = open_run(folder)
    scans, skipped = checked_run(run)
    raw_folder.check_hounsfield(scans, "nnU-Net")
    parts = _parts(labels)
    used, left_out = _scans_with(parts, scans)
    if not used:
        raise MissingInputError(f"no scan has labels of {labels}: {left_out[0].reason}", where=run.folder)
    classes, layers = _plan(parts, used)
    with atomic.refusing_writes(raw):
        raw.mkdir(parents=True, exist_ok=True)
    splits = raw_folder.splits(used)
    with atomic.atomic_folder(final) as partial:
        for part in ("imagesTr", "labelsTr"):
            (partial / part).mkdir()
        overlap = sum(_write_case(scan, partial, layers) for scan in used)
        facts: dict[str, Any] = {"channel_names": {"0": "CT"}, "labels": classes, "numTraining": len(used)}
        facts |= {"file_ending": ENDING, "name": name, "hilum": hilum.__version__}
        (partial / "dataset.json").write_bytes(records.json_bytes(facts))
        if splits:
            (partial / SPLITS).write_bytes(records.json_bytes(splits))
    return NnunetDataset(
        folder=final,
        cases=len(used),
        folds=len(splits),
        skipped=[*skipped, *left_out],
        classes=classes,
        overlap=overlap,
    )


def _parts(labels: str) -> list[str]:
    """The stored parts that are named, in their order."""
    both = {"both": ["lungs", "nodules"], "": []}
    names = [name for word in labels.split(",") for name in both.get(word.strip(), [word.strip()])]
    parts = [name if name in _OWN else mask_part(name.removeprefix(f"{LABELS}/")) for name in names]
    if not parts or len(set(parts)) < len(parts):
        what = f"labels {labels!r} name {'nothing' if not parts else 'something twice'}"
        raise InputError(what, do="give lungs, nodules or label maps, with commas between them", code="option")
    return parts


def _scans_with(parts: list[str], scans: list[ListedScan]) -> tuple[list[ListedScan], list[Skip]]:
    used: list[ListedScan] = []
    left_out: list[Skip] = []
    for scan in scans:
        missing = [part.partition("/")[2] for part in parts if "/" in part and not scan.format_of(part)]
        if "lungs" in parts and not scan.format_of("lungs"):
            left_out.append(scan.skip("no-lungs", "it has no lung mask"))
        elif "nodules" in parts and not scan.annotated:
            left_out.append(scan.skip_without_nodules())
        elif missing:
            left_out.append(scan.skip("no-labels", f"it has no label map {missing[0]}"))
        else:
            used.append(scan)
    return used, left_out


def _plan(parts: list[str], scans: list[ListedScan]) -> tuple[dict[str, int], list[_Layer]]:
    """Number the classes, and tell which value of which part is which class.

    A label is called as in its label map; with the label map's name in front if that is a number, or taken.
    """
    classes, layers = {"background": 0}, list[_Layer]()
    for part in parts:
        map_name = part.partition("/")[2]
        table = np.zeros(256, np.uint8)
        for label, value in (_OWN[part] if part in _OWN else label_values(scans, map_name)).items():
            name = f"{map_name}_{label}" if label in classes or label.isdecimal() else label
            if name in classes or len(classes) > 255:
                what = f"two labels are called {name!r}" if name in classes else "there are more than 255 labels"
                raise InputError(what, do="export fewer label maps, or give their labels other names", code="option")
            classes[name] = table[value] = len(classes)
        layers.append(_Layer(part, table))
    return classes, layers


def _write_case(scan: ListedScan, partial: Path, layers: list[_Layer]) -> int:
    """Write the image and the labels of a scan; return how many voxels of label maps had a label before."""
    raw_folder.write_part(scan, "ct", partial / "imagesTr" / f"{scan.scan_id}_0000{ENDING}")
    mask, overlap = np.zeros(scan.geometry.shape, np.uint8), 0
    for part, classes in layers:
        if part == "nodules" and not scan.format_of(part):
            continue
        array = raw_folder.read_part(scan, part).array
        if part == "lungs" and array.max() > 2:
            what = f"the lung mask has the label {array.max()}, expected 1 right and 2 left"
            raise FormatError(what, where=scan.folder, do="export --labels nodules")
        added = classes[np.minimum(array, 1) if part == "nodules" else array]
        overlap += int(np.count_nonzero((mask > 0) & (added > 0))) if part not in _OWN else 0
        np.copyto(mask, added, where=added > 0)
    scan_files.write(Mask(mask, scan.geometry), partial / "labelsTr" / f"{scan.scan_id}{ENDING}")
    return overlap
