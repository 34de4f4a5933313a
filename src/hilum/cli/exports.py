"""Commands that write a finished output in the formats of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hilum.cli.options import Overwrite, RunFolder
from hilum.cli.training import report_skipped
from hilum.console import print_result

if TYPE_CHECKING:
    from hilum.export.boxes import BoxExport


def nnunet(
    folder: RunFolder,
    /,
    *,
    out: Path,
    number: int = 501,
    name: str = "Hilum",
    labels: Literal["both", "lungs", "nodules"] = "both",
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
        Lungs (1 right, 2 left), nodules (1), or both (1, 2, and 3 for nodules).
    """
    from hilum.export.nnunet import SPLITS, write_nnunet

    made = write_nnunet(folder, out, number=number, name=name, labels=labels, overwrite=overwrite)
    print_result(f"{made.folder}: {made.cases} cases")
    if made.folds:
        print_result(f"{made.folds} folds: copy {SPLITS} to nnUNet_preprocessed/{made.folder.name} before training")
    else:
        print_result("the scans have no folds: nnU-Net will split the cases at random")
    return report_skipped(made.skipped)


def monai(folder: RunFolder, /, *, out: Path, validation: str = "", overwrite: Overwrite = False) -> int:
    """Write a data list for MONAI's detection: images, and boxes of nodules in world coordinates.

    Parameters
    ----------
    folder
        An output folder of 'hilum run' in the format nifti; the base_dir of the data list.
    out
        File to write: .json.
    validation
        The fold for validation; the first fold by default.
    """
    from hilum.export.monai import write_monai

    made = write_monai(folder, out, validation=validation, overwrite=overwrite)
    return _report_boxes(out, made, "; boxes are in LPS: set affine_lps_to_ras=True in MONAI")


def seg(folder: RunFolder, /, *, out: Path, source: list[Path], overwrite: Overwrite = False) -> int:
    """Write lungs and nodules as DICOM-SEG on the slices of the original series.

    Parameters
    ----------
    out
        A folder for SCAN/lungs.dcm and SCAN/nodules.dcm. The files name the patient as the series does.
    source
        A folder with the DICOM series, searched with its subfolders; may be repeated.
    """
    from hilum.export.seg import write_segmentations

    made = write_segmentations(folder, out, sources=source, overwrite=overwrite)
    print_result(f"{out}: {made.files} files of {made.scans} scans, {made.segments} segments")
    return report_skipped(made.skipped)


def coco3d(folder: RunFolder, /, *, out: Path, overwrite: Overwrite = False) -> int:
    """Write the boxes of nodules as COCO instances with a third axis.

    Parameters
    ----------
    out
        File to write: .json.
    """
    from hilum.export.boxes import write_coco3d

    return _report_boxes(out, write_coco3d(folder, out, overwrite=overwrite))


def csv(folder: RunFolder, /, *, out: Path, overwrite: Overwrite = False) -> int:
    """Write the boxes of nodules as a table: one row per nodule, in voxels and in LPS mm.

    Parameters
    ----------
    out
        File to write: .csv.
    """
    from hilum.export.boxes import write_boxes_csv

    return _report_boxes(out, write_boxes_csv(folder, out, overwrite=overwrite))


def _report_boxes(out: Path, made: BoxExport, more: str = "") -> int:
    print_result(f"{out}: {made.nodules} nodules of {made.scans} scans{more}")
    return report_skipped(made.skipped)
