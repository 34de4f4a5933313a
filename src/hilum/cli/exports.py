"""Commands that write a finished output for training or for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from hilum.cli import status
from hilum.cli.options import Flag, FoldBy, Out, Overwrite, RunFolder
from hilum.console import print_note, print_result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hilum.export.boxes import BoxExport
    from hilum.train.runs import Skip


def nnunet(
    folder: RunFolder,
    /,
    *,
    out: Out,
    number: int = 501,
    name: str = "Hilum",
    labels: str = "both",
    overwrite: Overwrite = False,
) -> int:
    """Write a data set for nnU-Net version 2: images, labels, dataset.json, and splits by patient.

    Parameters
    ----------
    out
        The folder nnUNet_raw; the command creates DatasetNUMBER_NAME in it.
    number
        Number of the data set, 1 to 999.
    name
        Name of the data set: letters, digits, underscores.
    labels
        Lungs (right, left), nodules, both of them, or label maps of the run, with commas between them: the classes are
        numbered in this order, and a voxel with several labels gets the last one.
    """
    from hilum.export.nnunet import SPLITS, write_nnunet

    made = write_nnunet(folder, out, number=number, name=name, labels=labels, overwrite=overwrite)
    print_result(f"{made.folder}: {made.cases} cases")
    if made.overlap:
        print_note(f"overlap: {made.overlap} voxels of label maps had a label before; they have the last one")
    if made.folds:
        print_result(f"{made.folds} folds: copy {SPLITS} to nnUNet_preprocessed/{made.folder.name} before training")
    else:
        print_result("the scans have no folds: nnU-Net will split the cases at random; see 'hilum folds'")
    return report_skipped(made.skipped)


def nndetection(
    folder: RunFolder, /, *, out: Out, number: int = 501, name: str = "Hilum", overwrite: Overwrite = False
) -> int:
    """Write a task for nnDetection: images, masks of nodules as instances, dataset.json, and splits by patient.

    Parameters
    ----------
    out
        The folder det_data; the command creates TaskNUMBER_NAME in it.
    number
        Number of the task, 1 to 999.
    name
        Name of the task: letters, digits, underscores.
    """
    from hilum.export.nndetection import write_nndetection

    made = write_nndetection(folder, out, number=number, name=name, overwrite=overwrite)
    print_result(f"{made.folder}: {made.nodules} nodules of {made.cases} cases, {made.folds or 'no'} folds")
    if not made.folds:
        print_result("the scans have no folds: nnDetection will split the cases at random; see 'hilum folds'")
    return report_skipped(made.skipped)


def monai(
    folder: RunFolder,
    /,
    *,
    out: Out,
    labels: str = "",
    validation: str = "",
    testing: str = "",
    overwrite: Overwrite = False,
) -> int:
    """Write a data list for MONAI: images, and boxes of nodules in world coordinates, or masks.

    Parameters
    ----------
    folder
        An output folder of 'hilum run' in the format nifti; the base_dir of the data list.
    out
        File to write: .json.
    labels
        For segmentation: a label map of the run, or lungs. Without it the list is for detection.
    validation
        The fold for validation; the first fold by default.
    testing
        The fold for testing; none by default.
    """
    from hilum.export.boxes import write_monai

    if labels:
        from hilum.export.monai_masks import write_monai_masks

        listed = write_monai_masks(
            folder, out, labels=labels, validation=validation, testing=testing, overwrite=overwrite
        )
        print_result(f"{out}: {listed.scans} scans with {labels}")
        return report_skipped(listed.skipped)
    made = write_monai(folder, out, validation=validation, testing=testing, overwrite=overwrite)
    return _report_boxes(out, made, "; boxes are in LPS: set affine_lps_to_ras=True in MONAI")


def seg(folder: RunFolder, /, *, out: Out, source: list[Path], overwrite: Overwrite = False) -> int:
    """Write lungs, nodules and label maps as DICOM-SEG on the slices of the original series.

    Parameters
    ----------
    out
        A folder for SCAN/lungs.dcm, SCAN/nodules.dcm and SCAN/labels/NAME.dcm. They name the patient as the series
        does.
    source
        A folder with the DICOM series, searched with its subfolders; may be repeated.
    """
    from hilum.export.seg import write_segmentations

    made = write_segmentations(folder, out, sources=source, overwrite=overwrite)
    print_result(f"{out}: {made.files} files of {made.scans} scans, {made.segments} segments")
    return report_skipped(made.skipped)


def coco3d(folder: RunFolder, /, *, out: Out, labels: str = "nodules", overwrite: Overwrite = False) -> int:
    """Write the boxes of nodules, or of a label map, as COCO instances with a third axis.

    Parameters
    ----------
    out
        File to write: .json.
    labels
        A label map of the run, instead of nodules: a box around each connected part of each label.
    """
    from hilum.export.boxes import write_coco3d

    return _report_boxes(out, write_coco3d(folder, out, labels=labels, overwrite=overwrite), labels=labels)


def csv(folder: RunFolder, /, *, out: Out, labels: str = "nodules", overwrite: Overwrite = False) -> int:
    """Write the boxes of nodules, or of a label map, as a table: one row each, in voxels and in LPS mm.

    Parameters
    ----------
    out
        File to write: .csv.
    labels
        A label map of the run, instead of nodules: a box around each connected part of each label.
    """
    from hilum.export.boxes import write_boxes_csv

    return _report_boxes(out, write_boxes_csv(folder, out, labels=labels, overwrite=overwrite), labels=labels)


def _report_boxes(out: Path, made: BoxExport, more: str = "", *, labels: str = "nodules") -> int:
    what = "nodules" if labels == "nodules" else f"boxes in {labels}"
    print_result(f"{out}: {made.nodules} {what} of {made.scans} scans{more}")
    return report_skipped(made.skipped)


def slices(
    folder: RunFolder,
    /,
    *,
    out: Out,
    every: Annotated[bool, Parameter(name="--all", negative="")] = False,
    labels: str = "nodules",
    pixels: Literal["stored", "uint8", "int16", "uint16"] = "stored",
    fold_by: FoldBy = "fold",
    overwrite: Overwrite = False,
) -> int:
    """Write three slices through the largest nodule of each scan, and the nodule's mask on them, as .npy.

    Parameters
    ----------
    out
        A folder for images_N.npy, masks_N.npy, index.csv and summary.json.
    every
        Write every nodule (or label) of a scan, not only the largest.
    labels
        A label map of the run, instead of nodules: slices and masks of its largest label.
    pixels
        Values as stored, or each slice scaled to 0 to 255, 0 to 32767 or 0 to 65535.
    """
    from hilum.train.slices import write_slices

    made = write_slices(folder, out, every=every, labels=labels, pixels=pixels, fold_by=fold_by, overwrite=overwrite)
    what = "nodules" if labels == "nodules" else f"labels of {labels}"
    print_result(f"{out}: {made.nodules} {what} of {made.scans} scans, three slices each")
    return report_skipped(made.skipped)


def patches(
    folder: RunFolder,
    /,
    *,
    out: Out,
    size: str = "64",
    jitter_mm: float = 5.0,
    per_nodule: int = 1,
    negatives: int = 4,
    distance_mm: float = 20.0,
    candidates: Path | None = None,
    excluded: Path | None = None,
    kept: Flag = False,
    labels: str = "nodules",
    fold_by: FoldBy = "fold",
    seed: int = 0,
    overwrite: Overwrite = False,
) -> int:
    """Cut patches at the nodules of a finished output and away from them, and write an index.

    Parameters
    ----------
    out
        A folder for images_SCAN.npy, masks_SCAN.npy, index.csv and summary.json.
    size
        Voxels along each edge, or along z, y and x: 32,64,64.
    jitter_mm
        Largest random shift of a patch from its nodule, along each axis.
    per_nodule
        Patches per nodule.
    negatives
        Patches per scan that contain no nodule.
    distance_mm
        Smallest distance from the center of a negative patch to the surface of any nodule.
    candidates
        A LUNA16 candidates.csv: draw negatives from its class 0.
    excluded
        A LUNA16 annotations_excluded.csv: draw negatives from it too. Without a table, draw them from the lungs.
    kept
        Draw negatives from what a run stores with each scan: LUNA16's candidates and excluded findings, LIDC's
        non-nodules.
    labels
        A label map of the run, instead of nodules: masks, and PER-NODULE patches at voxels of each of its labels.
    seed
        Seed; the same seed gives the same bytes.
    """
    from hilum.ops.patches.boxes import three_sizes
    from hilum.train.patch_records import PatchOptions
    from hilum.train.patches import write_patches

    numbers = [int(part) if part.isdecimal() else 0 for part in size.split(",")]
    box = three_sizes(numbers if len(numbers) > 1 else numbers[0])
    voxels = box if len(numbers) > 1 else box[0]
    options = PatchOptions(
        size=voxels, jitter_mm=jitter_mm, per_nodule=per_nodule, negatives=negatives, distance_mm=distance_mm,
        seed=seed, labels=labels,
    )  # fmt: skip
    made = write_patches(
        folder, out, options, candidates=candidates, excluded=excluded, kept=kept, fold_by=fold_by, overwrite=overwrite
    )
    where = "at nodules" if labels == "nodules" else f"in {labels}"
    print_result(f"{out}: {made.positives} patches {where}, {made.negatives} elsewhere, of {len(made.scans)} scans")
    return report_skipped(made.skipped)


def report_skipped(skipped: Sequence[Skip]) -> int:
    """Print one note per reason for which something was left out, and return the exit status.

    A damaged scan is a failure; a scan without nodules is not.
    """
    for code in dict.fromkeys(skip.code for skip in skipped):
        same = [skip for skip in skipped if skip.code == code]
        names = list(dict.fromkeys(skip.scan for skip in same if skip.scan))
        where = f": {', '.join(names[:3])}" + (", ..." if len(names) > 3 else "") if names else ""
        print_note(f"{code}: {sum(skip.count for skip in same)} left out: {same[0].reason}{where}")
    return status.REFUSED if any(skip.code == "damaged-scan" for skip in skipped) else status.ALL_WELL
