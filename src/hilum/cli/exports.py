"""Commands that bring a finished output into the forms of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from hilum.cli.training import tell
from hilum.console import say


def nnunet(
    folder: Path,
    /,
    *,
    out: Path,
    number: int = 501,
    name: str = "Hilum",
    labels: Literal["both", "lungs", "nodules"] = "both",
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Write a data set of nnU-Net, version 2: images, labels, dataset.json, splits by patient.

    Parameters
    ----------
    folder
        An output folder of 'hilum run'.
    out
        The folder nnUNet_raw; DatasetNUMBER_NAME is made in it.
    number
        Of the data set, 1 to 999.
    name
        Of the data set: letters, digits, underscores.
    labels
        Lungs (1 right, 2 left), nodules (1), or both (1, 2, and 3 for nodules).
    overwrite
        Replace an earlier export of that number and name.
    """
    from hilum.export.nnunet import SPLITS, write_nnunet

    made = write_nnunet(folder, out, number=number, name=name, labels=labels, overwrite=overwrite)
    say(f"{made.folder}: {made.cases} cases")
    if made.folds:
        say(f"{made.folds} folds: copy {SPLITS} to nnUNet_preprocessed/{made.folder.name} before you train")
    else:
        say("no folds are known: nnU-Net will split the cases at random")
    return tell(made.skipped)


def monai(
    folder: Path,
    /,
    *,
    out: Path,
    validation: str = "",
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Write a data list for MONAI's detection: images, and boxes of nodules in world coordinates.

    Parameters
    ----------
    folder
        An output folder of 'hilum run', of the format nifti; the base_dir of the data list.
    out
        A .json.
    validation
        The fold that validates; the first without it.
    overwrite
        Replace a file that is there.
    """
    from hilum.export.monai import write_monai

    made = write_monai(folder, out, validation=validation, overwrite=overwrite)
    say(f"{out}: {made.nodules} nodules of {made.scans} scans; boxes in LPS, so give affine_lps_to_ras=True")
    return tell(made.skipped)


def seg(
    folder: Path,
    /,
    *,
    out: Path,
    source: list[Path],
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Write lungs and nodules as DICOM-SEG, on the slices of the series that they were made of.

    Parameters
    ----------
    folder
        An output folder of 'hilum run'.
    out
        A folder for SCAN/lungs.dcm and SCAN/nodules.dcm. They name the patient as the series does.
    source
        A folder with the DICOM series, searched with its subfolders; may be given several times.
    overwrite
        Replace what is there of a scan.
    """
    from hilum.export.seg import write_segmentations

    made = write_segmentations(folder, out, sources=source, overwrite=overwrite)
    say(f"{out}: {made.files} files of {made.scans} scans, {made.segments} segments")
    return tell(made.skipped)


def coco3d(folder: Path, /, *, out: Path, overwrite: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Write the boxes of nodules in the form of COCO's instances, with a third axis.

    Parameters
    ----------
    folder
        An output folder of 'hilum run'.
    out
        A .json.
    overwrite
        Replace a file that is there.
    """
    from hilum.export.boxes import write_coco3d

    made = write_coco3d(folder, out, overwrite=overwrite)
    say(f"{out}: {made.nodules} nodules of {made.scans} scans")
    return tell(made.skipped)


def csv(folder: Path, /, *, out: Path, overwrite: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Write the boxes of nodules as a table: a row a nodule, in voxels and in LPS mm.

    Parameters
    ----------
    folder
        An output folder of 'hilum run'.
    out
        A .csv.
    overwrite
        Replace a file that is there.
    """
    from hilum.export.boxes import write_boxes_csv

    made = write_boxes_csv(folder, out, overwrite=overwrite)
    say(f"{out}: {made.nodules} nodules of {made.scans} scans")
    return tell(made.skipped)
