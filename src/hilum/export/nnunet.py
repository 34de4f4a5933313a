"""A data set for nnU-Net, version 2: images, labels, ``dataset.json``, and splits that keep patients together."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

import hilum
from hilum.errors import FormatError, InputError, MissingInputError, OutputError
from hilum.export.finished import checked_run, fold_of, json_bytes, refuse_unit_range
from hilum.io.atomic import atomic_folder, write_refused
from hilum.io.files import read_small
from hilum.io.scan_files import write
from hilum.io.volumes.formats import STORES
from hilum.outputs.volumes import format_of, read_stored
from hilum.train.runs import Skip, no_nodules
from hilum.volume import Mask, Volume

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from hilum.train.runs import RunScan

Labels = Literal["both", "lungs", "nodules"]

CLASSES: dict[Labels, dict[str, int]] = {
    "both": {"background": 0, "lung_right": 1, "lung_left": 2, "nodule": 3},
    "lungs": {"background": 0, "lung_right": 1, "lung_left": 2},
    "nodules": {"background": 0, "nodule": 1},
}
"""The values of a label file, by what was asked for. A nodule's voxels are nodule, wherever they lie."""

SPLITS = "splits_final.json"

ENDING = STORES["nifti"].suffix


@dataclass(frozen=True)
class NnunetDataset:
    """What was written: its folder, how many cases, how many folds its splits have, and what was left out."""

    folder: Path
    cases: int
    folds: int
    skipped: list[Skip]


def write_nnunet(
    folder: Path,
    raw: Path,
    *,
    number: int = 501,
    name: str = "Hilum",
    labels: Labels = "both",
    overwrite: bool = False,
) -> NnunetDataset:
    """Write a finished output as a data set of nnU-Net, all of it or nothing.

    Parameters
    ----------
    folder : Path
        The output folder of ``hilum run``, of any format, in HU.
    raw : Path
        nnU-Net's ``nnUNet_raw``; made where it is missing. Images that are NIfTI already become further names of the
        same files where the file system can do that, and copies elsewhere.
    number : int
        1 to 999.
    name : str
        Letters, digits, and the underscore.
    labels : str
        A key of `CLASSES`. For nodules, scans are left out in which nobody looked for them; for lungs, scans
        without a lung mask.
    overwrite : bool
        Whether an earlier export of that number and name is replaced.

    Returns
    -------
    NnunetDataset

    Raises
    ------
    InputError
        If the run is not whole or not in HU, or no scan has the labels.
    OutputError
        If there is a data set of that number that hilum did not write, or the file system refuses.
    """
    if not 1 <= number <= 999 or re.fullmatch(r"[A-Za-z0-9_]+", name) is None:
        what = f"Dataset{number}_{name} is no name for nnU-Net: 1 to 999, then letters, digits and underscores"
        raise InputError(what, do="choose another --number or --name", code="option")
    final = raw / f"Dataset{number:03d}_{name}"
    _check_free(raw, final, number=number, overwrite=overwrite)
    scans, skipped = checked_run(folder)
    refuse_unit_range(scans, program="nnU-Net")
    used, left_out = _usable(scans, labels)
    if not used:
        raise MissingInputError(f"no scan has labels of {labels}: {left_out[0].reason}", where=folder)
    try:
        raw.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise write_refused("", problem, where=raw) from None
    splits = _splits(used)
    with atomic_folder(final) as partial:
        for part in ("imagesTr", "labelsTr"):
            (partial / part).mkdir()
        for scan in used:
            _write_case(scan, partial, labels)
        (partial / "dataset.json").write_bytes(json_bytes(_about(name, labels, len(used))))
        if splits:
            (partial / SPLITS).write_bytes(json_bytes(splits))
    return NnunetDataset(folder=final, cases=len(used), folds=len(splits), skipped=[*skipped, *left_out])


def _check_free(raw: Path, final: Path, *, number: int, overwrite: bool) -> None:
    for other in sorted(raw.glob(f"Dataset{number:03d}_*")) if raw.is_dir() else ():
        if other != final:
            raise OutputError("is a data set of that number", where=other, do="choose another --number", code="exists")
    if not final.exists():
        return
    try:
        ours = "hilum" in msgspec.json.decode(read_small(final / "dataset.json", limit=1 << 24), type=dict[str, Any])
    except (OSError, ValueError, msgspec.DecodeError):
        ours = False
    if not ours or not overwrite:
        what = "holds an earlier export" if ours else "is in use by something else"
        do = "give --overwrite" if ours else "choose another --number"
        raise OutputError(what, where=final, do=do, code="exists")


def _usable(scans: list[RunScan], labels: Labels) -> tuple[list[RunScan], list[Skip]]:
    used: list[RunScan] = []
    left_out: list[Skip] = []
    for scan in scans:
        if labels != "nodules" and not format_of(scan.record, "lungs"):
            left_out.append(Skip(scan=scan.record.scan_id, code="no-lungs", reason="no lung mask was made of it"))
        elif labels != "lungs" and not scan.annotated:
            left_out.append(no_nodules(scan))
        else:
            used.append(scan)
    return used, left_out


def _write_case(scan: RunScan, partial: Path, labels: Labels) -> None:
    case = scan.record.scan_id
    image = partial / "imagesTr" / f"{case}_0000{ENDING}"
    if format_of(scan.record) == "nifti":
        _link(scan.folder / f"ct{ENDING}", image)
    else:
        write(_stored(scan, "ct"), image)
    drawn = np.zeros(scan.geometry.shape, np.uint8)
    values = CLASSES[labels]
    if "lung_right" in values:
        drawn[:] = _labels(scan, "lungs")
    if "nodule" in values and format_of(scan.record, "nodules"):
        drawn[_labels(scan, "nodules") > 0] = values["nodule"]
    write(Mask(drawn, scan.geometry), partial / "labelsTr" / f"{case}{ENDING}")


def _stored(scan: RunScan, name: str) -> Volume:
    found = read_stored(scan.folder, scan.record, name)
    if found is None or not found.geometry.isclose(scan.geometry):
        raise FormatError(f"{name} does not lie on the grid of scan.json", where=scan.folder, do="run it again")
    return found


def _labels(scan: RunScan, name: str) -> NDArray[Any]:
    """The voxels of a stored mask; those of a lung mask are 0, 1 and 2, or nnU-Net would find a class it knows not."""
    array = _stored(scan, name).array
    if name == "lungs" and array.max() > 2:
        what = f"the lung mask has the label {array.max()}, expected 1 right and 2 left"
        raise FormatError(what, where=scan.folder, do="export --labels nodules")
    return array


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def _about(name: str, labels: Labels, cases: int) -> dict[str, Any]:
    return {
        "channel_names": {"0": "CT"},
        "labels": CLASSES[labels],
        "numTraining": cases,
        "file_ending": ENDING,
        "name": name,
        "hilum": hilum.__version__,
    }


def _splits(scans: list[RunScan]) -> list[dict[str, list[str]]]:
    """One split a fold; none where a scan has no fold, or all have the same."""
    folds = {scan.record.scan_id: fold_of(scan) for scan in scans}
    names = sorted(set(folds.values()), key=lambda fold: (len(fold), fold))
    if "" in names or len(names) < 2:
        return []
    return [
        {"train": [n for n, f in folds.items() if f != fold], "val": [n for n, f in folds.items() if f == fold]}
        for fold in names
    ]
