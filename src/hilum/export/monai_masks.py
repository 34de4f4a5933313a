"""A data list of MONAI for segmentation: images and the masks of a label map, or of the lungs."""

from pathlib import Path
from typing import Any

from hilum.errors import MissingInputError
from hilum.export.boxes import BoxExport, check_nifti, labeled_run
from hilum.export.checked_run import check_output_file, checked_run, image_name
from hilum.export.held_out import divide, fold_entry
from hilum.io.atomic import atomic_path
from hilum.outputs.finished import LABELS
from hilum.outputs.records import json_bytes
from hilum.runs.run import AnyRun, open_run
from hilum.train.label_maps import LUNG_CLASSES


def write_monai_masks(
    folder: AnyRun, out: Path, *, labels: str, validation: str = "", testing: str = "", overwrite: bool = False
) -> BoxExport:
    """Write a data list: ``training``, ``validation`` and ``testing``, each a list of ``image`` and ``label``, files.

    ``labels`` in it has the names of the values in the masks, as in a dataset.json of the Medical Decathlon.

    Parameters
    ----------
    folder, out, validation, testing, overwrite
        As for `hilum.export.boxes.write_monai`.
    labels : str
        The name of a label map, or ``"lungs"`` for hilum's own.

    Returns
    -------
    BoxExport

    Errors are those of `hilum.export.boxes.write_monai`, and one if no scan has the mask.
    """
    check_output_file(out, overwrite=overwrite)
    run = open_run(folder)
    if labels == "lungs":
        part, values = labels, LUNG_CLASSES
        listed, skipped = checked_run(run)
        scans = [scan for scan in listed if scan.format_of(part)]
        skipped += [scan.skip("no-lungs", "it has no lung mask") for scan in listed if not scan.format_of(part)]
        if not scans:
            raise MissingInputError("no scan has a lung mask", where=run.folder, do="name a label map, or run it again")
    else:
        part = f"{LABELS}/{labels}"
        scans, skipped, values = labeled_run(run, labels)
    check_nifti(scans, run.folder)
    parts = divide(scans, run.folder, skipped, validation=validation, testing=testing)
    data: dict[str, Any] = {"labels": {"0": "background", **{str(value): name for name, value in values.items()}}}
    for name, listed in parts.items():
        data[name] = [{"image": image_name(s), "label": image_name(s, part), **fold_entry(s)} for s in listed]
    with atomic_path(out) as partial:
        partial.write_bytes(json_bytes(data))
    count = sum(map(len, parts.values()))
    return BoxExport(scans=count, nodules=count, skipped=skipped)
