"""Boxes of nodules, in voxels and in the world: as a csv, as COCO with a third axis, as a data list of MONAI.

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
from numpy.typing import NDArray

import hilum
from hilum.errors import FormatError, InputError
from hilum.export.checked_run import annotated_run, check_output_file, checked_run, image_name
from hilum.io.annotations.csv_tables import safe_cells
from hilum.io.atomic import atomic_path
from hilum.outputs.records import json_bytes
from hilum.train.runs import RunScan, Skip

COLUMNS = (
    *("scan", "series_uid", "patient_fold", "nodule", "label", "diameter_mm"),
    *(f"voxel_{end}_{axis}" for end in ("low", "high") for axis in "zyx"),
    *(f"world_{end}_{axis}" for end in ("low", "high") for axis in "xyz"),
    *(f"center_voxel_{axis}" for axis in "zyx"),
    *(f"center_world_{axis}" for axis in "xyz"),
    *(f"spacing_{axis}" for axis in "zyx"),
)
"""Columns of the csv: fractional voxel indices (z, y, x), whole at voxel centers; world positions (x, y, z), LPS mm."""


class Bounds(NamedTuple):
    """Lower corner, center and upper corner of a box, each an ndarray, shape (3,)."""

    low: NDArray[np.float64]
    center: NDArray[np.float64]
    high: NDArray[np.float64]


class NoduleBox(NamedTuple):
    """The box of one nodule.

    Parameters
    ----------
    nodule : int
        Its label in the mask.
    diameter_mm : float
    voxel : Bounds, (z, y, x)
        Fractional voxel indices of the stored grid.
    world : Bounds, (x, y, z), LPS mm
        Along the axes of the world: on an oblique grid these are other corners than those in voxels.
    """

    nodule: int
    diameter_mm: float
    voxel: Bounds
    world: Bounds


class BoxExport(NamedTuple):
    """How many scans and nodules were written, and what was left out."""

    scans: int
    nodules: int
    skipped: list[Skip]


def nodule_boxes(scan: RunScan) -> Iterator[NoduleBox]:
    """Give the box of every nodule whose center is in the stored volume."""
    for one in scan.record.nodules:
        if one.inside:
            world, radius = np.array(one.world), one.diameter_mm / 2
            voxel, half = scan.geometry.world_to_index(world), radius / np.array(scan.geometry.spacing)
            voxel_box = Bounds(voxel - half, voxel, voxel + half)
            yield NoduleBox(one.label, one.diameter_mm, voxel_box, Bounds(world - radius, world, world + radius))


def write_boxes_csv(folder: Path, out: Path, *, overwrite: bool = False) -> BoxExport:
    """Write one row per nodule: its box in voxels and in the world, its scan, its patient's fold.

    Parameters
    ----------
    folder : Path
        The output folder of ``hilum run``.
    out : Path
        A .csv with the `COLUMNS`.
    overwrite : bool
        Replace a file that exists.

    Returns
    -------
    BoxExport

    Raises
    ------
    InputError
        If the run is not complete.
    OutputError
        If `out` exists or cannot be written.
    """
    check_output_file(out, overwrite=overwrite)
    scans, skipped = checked_run(folder)
    rows = 0
    with atomic_path(out) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for scan in scans:
            skipped += scan.skip_nodules_outside("outside") if scan.record.nodules else [scan.skip_without_nodules()]
            for box in nodule_boxes(scan):
                rows += 1
                edges = (box.voxel.low, box.voxel.high, box.world.low, box.world.high)
                vectors = (*edges, box.voxel.center, box.world.center, scan.geometry.spacing)
                nodule = (scan.scan_id, scan.uid, scan.patient_fold, box.nodule, "nodule", f"{box.diameter_mm:.6g}")
                table.writerow(safe_cells((*nodule, *(f"{value:.6f}" for vector in vectors for value in vector))))
    return BoxExport(scans=len(scans), nodules=rows, skipped=skipped)


def write_coco3d(folder: Path, out: Path, *, overwrite: bool = False) -> BoxExport:
    """Write the boxes as COCO instances with a third axis, which is hilum's own extension.

    ``bbox`` is (x, y, z, width, height, depth) in voxels, counted as in COCO: 0 is the outer edge of the first voxel,
    0.5 its center. ``bbox_world`` is the box in the world: (x, y, z) of its low corner, LPS mm, then its widths.

    Parameters
    ----------
    folder, overwrite
        As for `write_boxes_csv`.
    out : Path
        A .json; images are named relative to `folder`.

    Returns
    -------
    BoxExport

    Errors are those of `write_boxes_csv`.
    """
    check_output_file(out, overwrite=overwrite)
    scans, skipped = annotated_run(folder)
    boxes = [(image, box) for image, scan in enumerate(scans, start=1) for box in nodule_boxes(scan)]
    data = {
        "info": {"description": "boxes of nodules in voxels and LPS mm", "version": f"hilum {hilum.__version__}"},
        "images": [_image(number, scan) for number, scan in enumerate(scans, start=1)],
        "annotations": [_annotation(number, image, box) for number, (image, box) in enumerate(boxes, start=1)],
        "categories": [{"id": 1, "name": "nodule"}],
    }
    with atomic_path(out) as partial:
        partial.write_bytes(json_bytes(data))
    return BoxExport(scans=len(scans), nodules=len(boxes), skipped=skipped)


def _image(number: int, scan: RunScan) -> dict[str, Any]:
    grid = scan.record.geometry
    depth, height, width = grid.shape
    image = {"id": number, "file_name": image_name(scan), "width": width, "height": height, "depth": depth}
    origin = {"scan": scan.scan_id, "series_uid": scan.uid, "patient_fold": scan.patient_fold}
    axes = {"origin_xyz_lps_mm": grid.origin, "direction_zyx_lps": grid.direction}
    return {**image, **origin, "spacing_zyx_mm": grid.spacing, **axes}


def _annotation(number: int, image: int, box: NoduleBox) -> dict[str, Any]:
    low, size = (box.voxel.low + 0.5)[::-1], (box.voxel.high - box.voxel.low)[::-1]
    ids = {"id": number, "image_id": image, "category_id": 1, "iscrowd": 0}
    nodule = {"nodule": box.nodule, "diameter_mm": box.diameter_mm}
    bbox = [round(value, 6) for value in (*low.tolist(), *size.tolist())]
    world = [round(value, 6) for value in (*box.world.low.tolist(), *[box.diameter_mm] * 3)]
    return {**ids, **nodule, "bbox": bbox, "area": round(float(np.prod(size)), 6), "bbox_world": world}


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
    if not (validation_fold := _validation_fold(scans, validation, folder)):
        skipped.append(Skip(scan="", code="no-folds", reason="no scan has a fold: 'validation' is empty"))
    data: dict[str, list[dict[str, Any]]] = {"training": [], "validation": []}
    nodules = 0
    for scan in scans:
        boxes = list(nodule_boxes(scan))
        nodules += len(boxes)
        part = "validation" if validation_fold and scan.patient_fold == validation_fold else "training"
        numbers = [[*map(float, box.world.center), *[box.diameter_mm] * 3] for box in boxes]
        classes = [0] * len(boxes)  # MONAI's detectors count them from 0
        data[part].append({"image": image_name(scan), "box": numbers, "label": classes})
    with atomic_path(out) as partial:
        partial.write_bytes(json_bytes(data))
    return BoxExport(scans=len(scans), nodules=nodules, skipped=skipped)


def _validation_fold(scans: list[RunScan], chosen: str, folder: Path) -> str:
    folds = sorted({scan.patient_fold for scan in scans} - {""})
    if chosen and chosen not in folds:
        what = f"no scan is in the fold {chosen!r} (folds: {', '.join(folds) or 'none'})"
        raise InputError(what, where=folder, do="choose one of them", code="option")
    return chosen or (folds[0] if folds else "")
