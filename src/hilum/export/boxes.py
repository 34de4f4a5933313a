"""Boxes of nodules, or of the parts of a label map: as a csv, as COCO with a third axis, as a data list of MONAI.

A box bounds the nodule's sphere: its half width is half the diameter, or diameter / (2 s) voxels along an array axis of
spacing s, in any orientation of the grid.

MONAI's LUNA16 detection tutorial takes ``box`` as (x, y, z, w, h, d), center and widths (its mode ``cccwhd``), in the
LPS world of LUNA16's tables. Its ``AffineBoxToImageCoordinated`` converts the RAS affine of a NIfTI file with
``affine_lps_to_ras=True``. So the data list is in LPS, and nothing is converted.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import hilum
from hilum.errors import FormatError
from hilum.export.checked_run import annotated_run, check_output_file, checked_run, image_name
from hilum.export.held_out import divide, fold_entry
from hilum.export.label_boxes import Bounds, LabelBox, label_boxes
from hilum.io.annotations.csv_tables import safe_cells
from hilum.io.atomic import atomic_path
from hilum.outputs.records import json_bytes
from hilum.runs.run import AnyRun, open_run
from hilum.train.label_maps import NODULES, label_values, scans_with
from hilum.train.runs import ListedScan, Skip

COLUMNS = (
    *("scan", "series_uid", "patient_fold", "nodule", "label", "diameter_mm"),
    *(f"voxel_{end}_{axis}" for end in ("low", "high") for axis in "zyx"),
    *(f"world_{end}_{axis}" for end in ("low", "high") for axis in "xyz"),
    *(f"center_voxel_{axis}" for axis in "zyx"),
    *(f"center_world_{axis}" for axis in "xyz"),
    *(f"spacing_{axis}" for axis in "zyx"),
)
"""Columns of the csv: fractional voxel indices (z, y, x), whole at voxel centers; world positions (x, y, z), LPS mm."""


class BoxExport(NamedTuple):
    """How many scans and nodules (or parts of labels, or masks) were written, and what was left out."""

    scans: int
    nodules: int
    skipped: list[Skip]


def nodule_boxes(scan: ListedScan) -> Iterator[LabelBox]:
    """Give the box of every nodule whose center is in the stored volume.

    Its number is the nodule's label in the mask. On an oblique grid its corners in the world are not those in voxels.
    """
    for one in scan.record.nodules:
        if one.inside:
            world, radius = np.array(one.world), one.diameter_mm / 2
            voxel, half = scan.geometry.world_to_index(world), radius / np.array(scan.geometry.spacing)
            voxel_box = Bounds(voxel - half, voxel, voxel + half)
            world_box = Bounds(world - radius, world, world + radius)
            yield LabelBox("nodule", 1, one.label, one.diameter_mm, voxel_box, world_box)


def labeled_run(folder: AnyRun, labels: str) -> tuple[list[ListedScan], list[Skip], dict[str, int]]:
    """List the scans of a checked run that have a label map, what is left out, and the values of its labels."""
    scans, skipped = checked_run(folder)
    used, without = scans_with(scans, labels)
    return used, [*skipped, *without], label_values(used, labels)


def write_boxes_csv(folder: AnyRun, out: Path, *, labels: str = NODULES, overwrite: bool = False) -> BoxExport:
    """Write one row per nodule: its box in voxels and in the world, its scan, its patient's fold.

    A scan without a box has no row; `write_coco3d` lists it. Of a label map, a row is a connected part (26 neighbors)
    of a label: ``nodule`` is its number in the scan, ``label`` its name, ``diameter_mm`` that of the sphere with its
    volume, the box that of its voxels.

    Parameters
    ----------
    folder : str or path
        The output folder of ``hilum run``, or a `hilum.Run`.
    out : Path
        A .csv with the `COLUMNS`.
    labels : str
        ``"nodules"``, or the name of a label map.
    overwrite : bool
        Replace a file that exists.

    Returns
    -------
    BoxExport

    Raises
    ------
    InputError
        If the run is not complete, or no scan has the label map.
    OutputError
        If `out` exists or cannot be written.
    """
    check_output_file(out, overwrite=overwrite)
    if of_nodules := labels == NODULES:
        scans, skipped = checked_run(folder)
    else:
        scans, skipped, values = labeled_run(folder, labels)
    rows = 0
    with atomic_path(out) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for scan in scans:
            if of_nodules:
                skipped += (
                    scan.skip_nodules_outside("outside") if scan.record.nodules else [scan.skip_without_nodules()]
                )
            for box in nodule_boxes(scan) if of_nodules else label_boxes(scan, labels, values):
                rows += 1
                edges = (box.voxel.low, box.voxel.high, box.world.low, box.world.high)
                vectors = (*edges, box.voxel.center, box.world.center, scan.geometry.spacing)
                nodule = (scan.scan_id, scan.uid, scan.patient_fold, box.number, box.label, f"{box.diameter_mm:.6g}")
                table.writerow(safe_cells((*nodule, *(f"{value:.6f}" for vector in vectors for value in vector))))
    return BoxExport(scans=len(scans), nodules=rows, skipped=skipped)


def write_coco3d(folder: AnyRun, out: Path, *, labels: str = NODULES, overwrite: bool = False) -> BoxExport:
    """Write the boxes as COCO instances with a third axis, which is hilum's own extension.

    ``bbox`` is (x, y, z, width, height, depth) in voxels, counted as in COCO: 0 is the outer edge of the first voxel,
    0.5 its center. ``bbox_world`` is the box in the world: (x, y, z) of its low corner, LPS mm, then its widths.
    The categories of a label map are its labels, with their values as ids.

    Parameters
    ----------
    folder, labels, overwrite
        As for `write_boxes_csv`.
    out : Path
        A .json; images are named relative to `folder`.

    Returns
    -------
    BoxExport

    Errors are those of `write_boxes_csv`.
    """
    check_output_file(out, overwrite=overwrite)
    if labels == NODULES:
        values = {"nodule": 1}
        scans, skipped = annotated_run(folder)
        boxes = [(image, box) for image, scan in enumerate(scans, start=1) for box in nodule_boxes(scan)]
    else:
        scans, skipped, values = labeled_run(folder, labels)
        boxes = [(n, box) for n, scan in enumerate(scans, start=1) for box in label_boxes(scan, labels, values)]
    data = {
        "info": {"description": f"boxes of {labels} in voxels and LPS mm", "version": f"hilum {hilum.__version__}"},
        "images": [_image(number, scan) for number, scan in enumerate(scans, start=1)],
        "annotations": [_annotation(number, image, box) for number, (image, box) in enumerate(boxes, start=1)],
        "categories": [{"id": value, "name": name} for name, value in values.items()],
    }
    with atomic_path(out) as partial:
        partial.write_bytes(json_bytes(data))
    return BoxExport(scans=len(scans), nodules=len(boxes), skipped=skipped)


def _image(number: int, scan: ListedScan) -> dict[str, Any]:
    grid = scan.record.geometry
    depth, height, width = grid.shape
    image = {"id": number, "file_name": image_name(scan), "width": width, "height": height, "depth": depth}
    origin = {"scan": scan.scan_id, "series_uid": scan.uid, "patient_fold": scan.patient_fold}
    axes = {"origin_xyz_lps_mm": grid.origin, "direction_zyx_lps": grid.direction}
    return {**image, **origin, "spacing_zyx_mm": grid.spacing, **axes}


def _annotation(number: int, image: int, box: LabelBox) -> dict[str, Any]:
    low, size = (box.voxel.low + 0.5)[::-1], (box.voxel.high - box.voxel.low)[::-1]
    ids = {"id": number, "image_id": image, "category_id": box.value, "iscrowd": 0}
    nodule = {"nodule": box.number, "diameter_mm": box.diameter_mm}
    bbox = [round(value, 6) for value in (*low.tolist(), *size.tolist())]
    widths = box.world.high - box.world.low
    world = [round(value, 6) for value in (*box.world.low.tolist(), *widths.tolist())]
    return {**ids, **nodule, "bbox": bbox, "area": round(float(np.prod(size)), 6), "bbox_world": world}


def write_monai(
    folder: AnyRun, out: Path, *, validation: str = "", testing: str = "", overwrite: bool = False
) -> BoxExport:
    """Write a data list: ``training``, ``validation`` and ``testing``, each a list of ``image``, ``box`` and ``label``.

    A scan without nodules has an empty ``box``. JSON cannot say its shape, (0, 6), so a chain of MONAI's transforms
    begins with a step that does, as in docs/frameworks.md. ``fold`` is the fold of the scan's patient, if it has one.

    Parameters
    ----------
    folder : str or path
        The output folder of ``hilum run``, or a `hilum.Run`, of the format ``nifti``.
    out : Path
        A .json; images are named relative to `folder`, which is the ``base_dir`` of ``load_decathlon_datalist``.
    validation : str
        The fold for validation; by default the first one, if the scans have several folds.
    testing : str
        The fold for testing; by default none.
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
    run = open_run(folder)
    scans, skipped = annotated_run(run)
    check_nifti(scans, run.folder)
    parts = divide(scans, run.folder, skipped, validation=validation, testing=testing)
    data = {name: [_monai_entry(scan) for scan in listed] for name, listed in parts.items()}
    with atomic_path(out) as partial:
        partial.write_bytes(json_bytes(data))
    entries = [entry for listed in data.values() for entry in listed]
    return BoxExport(scans=len(entries), nodules=sum(len(entry["box"]) for entry in entries), skipped=skipped)


def _monai_entry(scan: ListedScan) -> dict[str, Any]:
    boxes = [[*map(float, box.world.center), *[box.diameter_mm] * 3] for box in nodule_boxes(scan)]
    classes = [0] * len(boxes)  # MONAI's detectors count them from 0
    return {"image": image_name(scan), "box": boxes, "label": classes, **fold_entry(scan)}


def check_nifti(scans: list[ListedScan], folder: Path) -> None:
    """Refuse a run whose files do not tell MONAI where voxels are in the world."""
    if any(scan.format_of() != "nifti" for scan in scans):
        what = "is not stored as NIfTI, from which MONAI reads where voxels are in the world"
        raise FormatError(what, where=folder, do="convert it with 'hilum store DIR --format nifti'")
