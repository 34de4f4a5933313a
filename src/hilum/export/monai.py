"""The data list of MONAI's detection: images and the boxes of their nodules, in the world.

MONAI's LUNA16 detection tutorial takes ``box`` as (x, y, z, w, h, d), center and widths (its mode ``cccwhd``), in the
LPS world of LUNA16's tables. Its ``AffineBoxToImageCoordinated`` converts the RAS affine of a NIfTI file with
``affine_lps_to_ras=True``. So this module writes LPS and converts nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hilum.errors import FormatError, InputError
from hilum.export.boxes import BoxExport, nodule_boxes
from hilum.export.checked_run import annotated_run, check_output_file, image_name
from hilum.io.atomic import atomic_path
from hilum.outputs.records import json_bytes
from hilum.train.runs import Skip

if TYPE_CHECKING:
    from pathlib import Path

    from hilum.train.runs import RunScan


def write_monai(folder: Path, out: Path, *, validation: str = "", overwrite: bool = False) -> BoxExport:
    """Write a data list: ``training`` and ``validation``, each a list of ``image``, ``box`` and ``label``.

    Parameters
    ----------
    folder : Path
        The output folder of ``hilum run``, of the format ``nifti``.
    out : Path
        A .json; images are named relative to `folder`, which is the ``base_dir`` of ``load_decathlon_datalist``.
    validation : str
        The fold for validation; by default the first one, if the scans have folds.
    overwrite
        As for `write_boxes_csv`.

    Returns
    -------
    BoxExport

    Raises
    ------
    HilumError
        As for `write_boxes_csv`; also if the run is not stored as NIfTI, which tells MONAI where voxels are in the
        world, or no scan is in that fold.
    """
    check_output_file(out, overwrite=overwrite)
    scans, skipped = annotated_run(folder)
    if any(scan.format_of() != "nifti" for scan in scans):
        what = "is not stored as NIfTI, from which MONAI reads where voxels are in the world"
        raise FormatError(what, where=folder, do="convert it with 'hilum store DIR --format nifti'")
    validation_fold = _validation_fold(scans, validation, folder)
    if not validation_fold:
        skipped.append(Skip(scan="", code="no-folds", reason="no scan has a fold: 'validation' is empty"))
    data: dict[str, list[dict[str, Any]]] = {"training": [], "validation": []}
    nodules = 0
    for scan in scans:
        boxes = list(nodule_boxes(scan))
        nodules += len(boxes)
        part = "validation" if validation_fold and scan.patient_fold == validation_fold else "training"
        data[part].append(
            {
                "image": image_name(scan),
                "box": [[*map(float, box.world.center), *[box.diameter_mm] * 3] for box in boxes],
                "label": [0] * len(boxes),  # MONAI's detectors count classes from 0
            }
        )
    with atomic_path(out) as partial:
        partial.write_bytes(json_bytes(data))
    return BoxExport(scans=len(scans), nodules=nodules, skipped=skipped)


def _validation_fold(scans: list[RunScan], chosen: str, folder: Path) -> str:
    folds = sorted({scan.patient_fold for scan in scans} - {""})
    if chosen and chosen not in folds:
        what = f"no scan is in the fold {chosen!r} (folds: {', '.join(folds) or 'none'})"
        raise InputError(what, where=folder, do="choose one of them", code="option")
    return chosen or (folds[0] if folds else "")
