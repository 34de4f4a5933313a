"""A data set for nnU-Net, version 2: images, labels, ``dataset.json``, and splits that keep each patient together."""

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np

import hilum
from hilum.errors import FormatError, InputError, MissingInputError, OutputError
from hilum.export.checked_run import checked_run
from hilum.io import atomic, files, scan_files
from hilum.io.volumes.formats import STORES
from hilum.outputs import records, store
from hilum.train.runs import RunScan, Skip
from hilum.volume import Mask, Volume

Labels = Literal["both", "lungs", "nodules"]

CLASSES: dict[Labels, dict[str, int]] = {
    "both": {"background": 0, "lung_right": 1, "lung_left": 2, "nodule": 3},
    "lungs": {"background": 0, "lung_right": 1, "lung_left": 2},
    "nodules": {"background": 0, "nodule": 1},
}
"""The values of a label file. A voxel in both a lung and a nodule is nodule."""

SPLITS = "splits_final.json"

ENDING = STORES["nifti"].suffix


class NnunetDataset(NamedTuple):
    """The folder that was written, how many cases and folds it has, and what was left out."""

    folder: Path
    cases: int
    folds: int
    skipped: list[Skip]


def write_nnunet(
    folder: Path, raw: Path, *, number: int = 501, name: str = "Hilum", labels: Labels = "both", overwrite: bool = False
) -> NnunetDataset:
    """Write a finished run as a data set of nnU-Net. The data set appears only when complete.

    Parameters
    ----------
    folder : Path
        The output folder of ``hilum run``, of any format, in HU.
    raw : Path
        nnU-Net's ``nnUNet_raw``; made if it is missing. Images that are NIfTI already are hard links to the run's
        files, or copies if the file system has no hard links.
    number : int
        1 to 999.
    name : str
        Letters, digits, and the underscore.
    labels : str
        A key of `CLASSES`. Scans without annotations are left out if it has nodules, scans without a lung mask if
        it has lungs.
    overwrite : bool
        Replace an earlier export of that number and name.

    Returns
    -------
    NnunetDataset

    Raises
    ------
    InputError
        If the run is not complete or not in HU, or no scan has the labels.
    OutputError
        If there is another data set of that number, or the file system refuses.
    """
    if not 1 <= number <= 999 or re.fullmatch(r"[A-Za-z0-9_]+", name) is None:
        what = f"Dataset{number}_{name} is not a valid name: 1 to 999, then letters, digits and underscores"
        raise InputError(what, do="choose another --number or --name", code="option")
    final = raw / f"Dataset{number:03d}_{name}"
    _check_output_folder(raw, final, number=number, overwrite=overwrite)
    scans, skipped = checked_run(folder)
    for scan in scans:
        if scan.record.unit != store.HU:
            what = f"voxels are in the {scan.record.unit}, but nnU-Net expects HU"
            raise FormatError(what, where=scan.folder, do="run with intensity.output = 'hu'", code="not-hounsfield")
    used, left_out = _scans_with(labels, scans)
    if not used:
        raise MissingInputError(f"no scan has labels of {labels}: {left_out[0].reason}", where=folder)
    with atomic.refusing_writes(raw):
        raw.mkdir(parents=True, exist_ok=True)
    splits = _splits(used)
    with atomic.atomic_folder(final) as partial:
        for part in ("imagesTr", "labelsTr"):
            (partial / part).mkdir()
        for scan in used:
            _write_case(scan, partial, labels)
        facts: dict[str, Any] = {"channel_names": {"0": "CT"}, "labels": CLASSES[labels], "numTraining": len(used)}
        facts |= {"file_ending": ENDING, "name": name, "hilum": hilum.__version__}
        (partial / "dataset.json").write_bytes(records.json_bytes(facts))
        if splits:
            (partial / SPLITS).write_bytes(records.json_bytes(splits))
    return NnunetDataset(folder=final, cases=len(used), folds=len(splits), skipped=[*skipped, *left_out])


def _check_output_folder(raw: Path, final: Path, *, number: int, overwrite: bool) -> None:
    for other in sorted(raw.glob(f"Dataset{number:03d}_*")) if raw.is_dir() else ():
        if other != final:
            what = "is a data set of the same number"
            raise OutputError(what, where=other, do="choose another --number", code="exists")
    if not final.exists():
        return
    content = {}
    with suppress(OSError, ValueError, msgspec.DecodeError):
        content = msgspec.json.decode(files.read_small(final / "dataset.json", limit=1 << 24), type=dict[str, Any])
    if "hilum" not in content:
        raise OutputError("was not written by hilum", where=final, do="choose another --number", code="exists")
    if not overwrite:
        raise OutputError("holds an earlier export", where=final, do="give --overwrite", code="exists")


def _scans_with(labels: Labels, scans: list[RunScan]) -> tuple[list[RunScan], list[Skip]]:
    used: list[RunScan] = []
    left_out: list[Skip] = []
    for scan in scans:
        if labels != "nodules" and not scan.format_of("lungs"):
            left_out.append(scan.skip("no-lungs", "it has no lung mask"))
        elif labels != "lungs" and not scan.annotated:
            left_out.append(scan.skip_without_nodules())
        else:
            used.append(scan)
    return used, left_out


def _write_case(scan: RunScan, partial: Path, labels: Labels) -> None:
    image = partial / "imagesTr" / f"{scan.scan_id}_0000{ENDING}"
    if scan.format_of() == "nifti":
        source = scan.folder / f"ct{ENDING}"
        try:
            os.link(source, image)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(source, image)
    else:
        scan_files.write(_read(scan, "ct"), image)
    mask = np.zeros(scan.geometry.shape, np.uint8)
    values = CLASSES[labels]
    if "lung_right" in values:
        if (lungs := _read(scan, "lungs").array).max() > 2:
            what = f"the lung mask has the label {lungs.max()}, expected 1 right and 2 left"
            raise FormatError(what, where=scan.folder, do="export --labels nodules")
        mask[:] = lungs
    if "nodule" in values and scan.format_of("nodules"):
        mask[_read(scan, "nodules").array > 0] = values["nodule"]
    scan_files.write(Mask(mask, scan.geometry), partial / "labelsTr" / f"{scan.scan_id}{ENDING}")


def _read(scan: RunScan, part: str) -> Volume:
    if (volume := scan.read(part)) is None or not volume.geometry.isclose(scan.geometry):
        raise FormatError(f"{part} is not on the grid of scan.json", where=scan.folder, do="run it again")
    return volume


def _splits(scans: list[RunScan]) -> list[dict[str, list[str]]]:
    """Give one split per fold; none if a scan has no fold, or all scans have the same."""
    folds = {scan.scan_id: scan.patient_fold for scan in scans}
    names = sorted(set(folds.values()), key=lambda fold: (len(fold), fold))
    if "" in names or len(names) < 2:
        return []
    return [
        {"train": [n for n, f in folds.items() if f != fold], "val": [n for n, f in folds.items() if f == fold]}
        for fold in names
    ]
