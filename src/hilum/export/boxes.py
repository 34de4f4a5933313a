"""Boxes of nodules, in voxels and in the world, as a csv and in the form of COCO with a third axis.

A box is that of the nodule's sphere: its center, half its diameter to each side. Along an array axis of spacing s that
is a half width of diameter / 2 s voxels, however the grid lies in the world.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import hilum
from hilum.export.finished import annotated_run, check_free, checked_run, fold_of, image_name, json_bytes
from hilum.io.annotations.csv_tables import safe_cells
from hilum.io.atomic import atomic_path
from hilum.train.runs import Skip, no_nodules

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from hilum.train.runs import RunScan

COLUMNS = (
    *("scan", "series_uid", "patient_fold", "nodule", "label", "diameter_mm"),
    *(f"voxel_{end}_{axis}" for end in ("low", "high") for axis in "zyx"),
    *(f"world_{end}_{axis}" for end in ("low", "high") for axis in "xyz"),
    *(f"center_voxel_{axis}" for axis in "zyx"),
    *(f"center_world_{axis}" for axis in "xyz"),
    *(f"spacing_{axis}" for axis in "zyx"),
)
"""Of the csv. Voxels (z, y, x) count centers, so that 0 is the center of the first; the world is (x, y, z), LPS mm."""


@dataclass(frozen=True, eq=False)
class Box:
    """The box of one nodule.

    Parameters
    ----------
    scan : RunScan
    nodule : int
        Its label in the mask.
    diameter_mm : float
    center_voxel, low_voxel, high_voxel : ndarray, shape (3,), (z, y, x)
        Fractional indices of the stored grid.
    center_world, low_world, high_world : ndarray, shape (3,), (x, y, z), LPS mm
        Along the axes of the world: on a turned grid these are other corners than those in voxels.
    """

    scan: RunScan
    nodule: int
    diameter_mm: float
    center_voxel: NDArray[np.float64]
    low_voxel: NDArray[np.float64]
    high_voxel: NDArray[np.float64]
    center_world: NDArray[np.float64]
    low_world: NDArray[np.float64]
    high_world: NDArray[np.float64]


@dataclass(frozen=True)
class Exported:
    """What was written: how many scans and nodules, and what was left out."""

    scans: int
    nodules: int
    skipped: list[Skip]


def boxes_of(scan: RunScan) -> Iterator[Box]:
    """Give the box of every nodule whose center lies in the stored volume.

    Parameters
    ----------
    scan : RunScan

    Yields
    ------
    Box
    """
    for one in scan.record.nodules:
        if one.inside:
            world, radius = np.array(one.world), one.diameter_mm / 2
            voxel, half = scan.geometry.world_to_index(world), radius / np.array(scan.geometry.spacing)
            yield Box(
                scan=scan,
                nodule=one.label,
                diameter_mm=one.diameter_mm,
                center_voxel=voxel,
                low_voxel=voxel - half,
                high_voxel=voxel + half,
                center_world=world,
                low_world=world - radius,
                high_world=world + radius,
            )


def outside(scan: RunScan) -> list[Skip]:
    """Name the nodules whose center lies outside the stored volume.

    Parameters
    ----------
    scan : RunScan

    Returns
    -------
    list of Skip
    """
    reason = "its center lies outside the volume"
    return [
        Skip(scan=scan.record.scan_id, code="outside", reason=reason, nodule=one.label)
        for one in scan.record.nodules
        if not one.inside
    ]


def write_boxes_csv(folder: Path, out: Path, *, overwrite: bool = False) -> Exported:
    """Write one row a nodule: its box in voxels and in the world, its scan, its patient's fold.

    Parameters
    ----------
    folder : Path
        The output folder of ``hilum run``.
    out : Path
        A .csv with the `COLUMNS`.
    overwrite : bool
        Whether a file that is there is replaced.

    Returns
    -------
    Exported

    Raises
    ------
    InputError
        If the run is not whole.
    OutputError
        If `out` is taken, or cannot be written.
    """
    check_free(out, overwrite=overwrite)
    scans, skipped = checked_run(folder)
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    rows = 0
    for scan in scans:
        skipped += outside(scan) if scan.record.nodules else [no_nodules(scan)]
        for box in boxes_of(scan):
            rows += 1
            places = (
                *(box.low_voxel, box.high_voxel, box.low_world, box.high_world, box.center_voxel, box.center_world),
                np.array(scan.geometry.spacing),
            )
            told = (scan.record.scan_id, scan.uid, fold_of(scan), box.nodule, "nodule", f"{box.diameter_mm:.6g}")
            table.writerow(safe_cells((*told, *(f"{value:.6f}" for part in places for value in part))))
    with atomic_path(out) as partial:
        partial.write_text(text.getvalue(), encoding="utf-8")
    return Exported(scans=len(scans), nodules=rows, skipped=skipped)


def write_coco3d(folder: Path, out: Path, *, overwrite: bool = False) -> Exported:
    """Write the boxes in the form of COCO's instances, with a third axis.

    ``bbox`` is (x, y, z, width, height, depth) in voxels, as COCO counts pixels: 0 is the outer edge of the first, and
    0.5 its center. ``bbox_world`` is the same nodule's box in the world: (x, y, z) of its low corner, LPS mm, then its
    widths. COCO knows no third axis; this form is hilum's own.

    Parameters
    ----------
    folder : Path
        The output folder of ``hilum run``.
    out : Path
        A .json; images are named relative to `folder`.
    overwrite : bool
        Whether a file that is there is replaced.

    Returns
    -------
    Exported

    Raises
    ------
    InputError
        If the run is not whole.
    OutputError
        If `out` is taken, or cannot be written.
    """
    check_free(out, overwrite=overwrite)
    used, skipped = annotated_run(folder)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, scan in enumerate(used, start=1):
        images.append(_image(number, scan))
        skipped += outside(scan)
        annotations += (_annotation(len(annotations) + n, number, box) for n, box in enumerate(boxes_of(scan), start=1))
    told = {
        "info": {"description": "boxes of nodules in voxels and LPS mm", "version": f"hilum {hilum.__version__}"},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "nodule"}],
    }
    with atomic_path(out) as partial:
        partial.write_bytes(json_bytes(told))
    return Exported(scans=len(used), nodules=len(annotations), skipped=skipped)


def _image(number: int, scan: RunScan) -> dict[str, Any]:
    grid = scan.record.geometry
    depth, height, width = grid.shape
    return {
        "id": number,
        "file_name": image_name(scan),
        "width": width,
        "height": height,
        "depth": depth,
        "scan": scan.record.scan_id,
        "series_uid": scan.uid,
        "patient_fold": fold_of(scan),
        "spacing_zyx_mm": grid.spacing,
        "origin_xyz_lps_mm": grid.origin,
        "direction_zyx_lps": grid.direction,
    }


def _annotation(number: int, image: int, box: Box) -> dict[str, Any]:
    low, size = (box.low_voxel + 0.5)[::-1], (box.high_voxel - box.low_voxel)[::-1]
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "iscrowd": 0,
        "nodule": box.nodule,
        "diameter_mm": box.diameter_mm,
        "bbox": [round(value, 6) for value in (*low.tolist(), *size.tolist())],
        "area": round(float(np.prod(size)), 6),
        "bbox_world": [round(value, 6) for value in (*box.low_world.tolist(), *[box.diameter_mm] * 3)],
    }
