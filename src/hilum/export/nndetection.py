"""A task for nnDetection: images, a mask of instances with their classes, splits that keep each patient together.

Source: nnDetection's README ("Adding New Data sets") and its own checks, nndet/utils/check.py: instances are numbered
from 1 without gaps, and those of the mask and of its .json are the same.
"""

import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import hilum
from hilum.errors import MissingInputError
from hilum.export import raw_folder
from hilum.export.checked_run import annotated_run
from hilum.export.raw_folder import ENDING
from hilum.io import atomic, scan_files
from hilum.outputs.records import json_bytes
from hilum.runs.run import AnyRun, open_run
from hilum.train.runs import ListedScan, Skip
from hilum.volume import Mask

SPLITS = "preprocessed/splits_final.pkl"

_PICKLE_PROTOCOL = 4  # the same bytes from every Python


class NndetectionTask(NamedTuple):
    """The folder that was written, its cases, nodules and folds, and what was left out."""

    folder: Path
    cases: int
    nodules: int
    folds: int
    skipped: list[Skip]


def write_nndetection(
    folder: AnyRun, data: Path, *, number: int = 501, name: str = "Hilum", overwrite: bool = False
) -> NndetectionTask:
    """Write the annotated scans of a finished run as a task of nnDetection. It appears only when complete.

    Every nodule is an instance of one class. A scan without nodules is a case without instances.

    Parameters
    ----------
    folder : str or path
        The output folder of ``hilum run``, or a `hilum.Run`, of any format, in HU.
    data : Path
        nnDetection's ``det_data``; made if it is missing. Images that are NIfTI already are hard links to the run's
        files, or copies if the file system has no hard links.
    number : int
        1 to 999.
    name : str
        Letters, digits, and the underscore.
    overwrite : bool
        Replace an earlier export of that number and name.

    Returns
    -------
    NndetectionTask

    Raises
    ------
    InputError
        If the run is not complete or not in HU, or no scan is annotated.
    OutputError
        If there is another task of that number, or the file system refuses.
    """
    final = raw_folder.choose(data, "Task", number=number, name=name, overwrite=overwrite)
    run = open_run(folder)
    scans, skipped = annotated_run(run)
    raw_folder.check_hounsfield(scans, "nnDetection")
    if not scans:
        what = f"no scan is annotated: {skipped[0].reason}"
        raise MissingInputError(what, where=run.folder, do="run it with --annotations")
    with atomic.refusing_writes(data):
        data.mkdir(parents=True, exist_ok=True)
    splits = raw_folder.splits(scans)
    with atomic.atomic_folder(final) as partial:
        for part in ("imagesTr", "labelsTr"):
            (partial / "raw_splitted" / part).mkdir(parents=True)
        nodules = sum(_write_case(scan, partial / "raw_splitted", skipped) for scan in scans)
        facts: dict[str, Any] = {"task": final.name, "name": name, "dim": 3, "target_class": None, "test_labels": False}
        facts |= {"labels": {"0": "nodule"}, "modalities": {"0": "CT"}, "annotation_style": "seg"}
        (partial / "dataset.json").write_bytes(json_bytes({**facts, "hilum": hilum.__version__}))
        if splits:
            (partial / SPLITS).parent.mkdir()
            (partial / SPLITS).write_bytes(pickle.dumps(splits, protocol=_PICKLE_PROTOCOL))
    return NndetectionTask(folder=final, cases=len(scans), nodules=nodules, folds=len(splits), skipped=skipped)


def _write_case(scan: ListedScan, raw: Path, skipped: list[Skip]) -> int:
    """Write the image and the instances of a scan; return their number."""
    raw_folder.write_part(scan, "ct", raw / "imagesTr" / f"{scan.scan_id}_0000{ENDING}")
    label = raw / "labelsTr" / f"{scan.scan_id}{ENDING}"
    drawn = [one.label for one in scan.record.nodules if one.voxels]
    if drawn == list(range(1, len(drawn) + 1)):
        raw_folder.write_part(scan, "nodules", label)
    else:
        table = np.zeros(256, np.uint8)
        table[drawn] = np.arange(1, len(drawn) + 1)
        mask = raw_folder.read_part(scan, "nodules")
        scan_files.write(Mask(table[mask.array], mask.geometry), label)
    instances = {"instances": {str(number): 0 for number in range(1, len(drawn) + 1)}}
    label.with_name(f"{scan.scan_id}.json").write_bytes(json_bytes(instances))
    lost = [one.label for one in scan.record.nodules if one.inside and not one.voxels]
    skipped += [scan.skip("not-drawn", "the mask has no voxel of it", nodule=number) for number in lost]
    return len(drawn)
