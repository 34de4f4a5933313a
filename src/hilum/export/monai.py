"""The data list of MONAI's detection: images with the boxes of their nodules, in the world.

MONAI's LUNA16 detection tutorial takes ``box`` as (x, y, z, w, h, d), center and widths (its mode ``cccwhd``), in the
world of LUNA16's own tables, which is LPS; its ``AffineBoxToImageCoordinated`` turns the affine of a NIfTI file, which
leads to RAS, with ``affine_lps_to_ras=True``. So nothing is turned here, and nothing twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hilum.errors import FormatError, InputError
from hilum.export.boxes import Exported, boxes_of, outside
from hilum.export.finished import annotated_run, check_free, fold_of, image_name, json_bytes
from hilum.io.atomic import atomic_path
from hilum.outputs.volumes import format_of
from hilum.train.runs import Skip

if TYPE_CHECKING:
    from pathlib import Path

    from hilum.train.runs import RunScan

NODULE = 0
"""The class of a nodule: MONAI's detectors count classes from 0."""


def write_monai(folder: Path, out: Path, *, validation: str = "", overwrite: bool = False) -> Exported:
    """Write a data list: ``training`` and ``validation``, each a list of ``image``, ``box`` and ``label``.

    Parameters
    ----------
    folder : Path
        The output folder of ``hilum run``, of the format ``nifti``.
    out : Path
        A .json; images are named relative to `folder`, which is the ``base_dir`` of ``load_decathlon_datalist``.
    validation : str
        The fold that validates; without it the first of the folds, where the scans have any.
    overwrite : bool
        Whether a file that is there is replaced.

    Returns
    -------
    Exported

    Raises
    ------
    FormatError
        If the run is not whole, or not stored as NIfTI, without which MONAI would not know where the voxels lie.
    InputError
        If no scan is of that fold.
    OutputError
        If `out` is taken, or cannot be written.
    """
    check_free(out, overwrite=overwrite)
    used, skipped = annotated_run(folder)
    for scan in used:
        if format_of(scan.record) != "nifti":
            what = "is not stored as NIfTI, from which MONAI reads where voxels lie"
            raise FormatError(what, where=folder, do="export what 'hilum store DIR --format nifti' makes of it")
        skipped += outside(scan)
    held_out = _choose(used, validation, folder)
    if not held_out:
        skipped.append(Skip(scan="", code="no-folds", reason="no scan has a fold: 'validation' is empty"))
    told: dict[str, list[dict[str, Any]]] = {"training": [], "validation": []}
    for scan in used:
        told["validation" if held_out and fold_of(scan) == held_out else "training"].append(_entry(scan))
    with atomic_path(out) as partial:
        partial.write_bytes(json_bytes(told))
    nodules = sum(len(entry["label"]) for part in told.values() for entry in part)
    return Exported(scans=len(used), nodules=nodules, skipped=skipped)


def _choose(scans: list[RunScan], validation: str, folder: Path) -> str:
    folds = sorted({fold_of(scan) for scan in scans} - {""})
    if validation and validation not in folds:
        what = f"no scan of the fold {validation!r}: there are {', '.join(folds) or 'none'}"
        raise InputError(what, where=folder, do="choose one of them", code="option")
    return validation or (folds[0] if folds else "")


def _entry(scan: RunScan) -> dict[str, Any]:
    boxes = list(boxes_of(scan))
    return {
        "image": image_name(scan),
        "box": [[*map(float, box.center_world), *[box.diameter_mm] * 3] for box in boxes],
        "label": [NODULE] * len(boxes),
    }
