"""What the 2017 tutorial made of LUNA16: three slices round a nodule and its mask in them, as .npy files.

Its code compared distances with the diameter, so that masks had twice the radius, and took the minimum off twice when
it scaled an image; neither is repeated here.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec
import numpy as np

import hilum
from hilum.errors import HilumError, InputError, one_line
from hilum.io.annotations.csv_tables import safe_cells
from hilum.ops.nodules.masks import mask_nodules
from hilum.outputs.volumes import read_stored
from hilum.train.runs import SUMMARY, RunScan, Skip, check_files, list_run, no_nodules, output_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

Pixels = Literal["stored", "uint8", "int16", "uint16"]
"""``stored`` keeps the values; the others stretch each slice from its least to its greatest over 0 to 255, 0 to 32767
or 0 to 65535 (what the tutorial's function for int16 really did)."""

COLUMNS = (
    *("number", "images", "masks", "row", "scan", "series_uid", "fold", "nodule", "diameter_mm"),
    *("slice", "world_x", "world_y", "world_z", "mask_voxels", "lowest", "highest"),
)


class Slices(msgspec.Struct, frozen=True, kw_only=True):
    """What was written: nodules, each three slices; scans; and all that was left out."""

    version: str
    pixels: str
    scans: int
    nodules: int
    skipped: list[Skip]


def write_slices(
    folder: Path,
    out: Path,
    *,
    every: bool = False,
    pixels: Pixels = "stored",
    fold_by: str = "fold",
    overwrite: bool = False,
) -> Slices:
    """Write three slices round the biggest nodule of each scan of a finished run, or round every one.

    ``images_N.npy`` and ``masks_N.npy``, shape (3, y, x), hold the slice through nodule N's center and its two
    neighbors (at the first or last slice, the three there are), and the nodule in them, 0 or 1. ``index.csv`` has a
    row a slice, with the world position of the nodule's center moved into the slice, and the values that 0 and the
    greatest number stand for. ``summary.json`` names what was left out.

    Parameters
    ----------
    folder : Path
        The output folder of ``hilum run``.
    out : Path
        Appears only when complete.
    every : bool
        All nodules of a scan in place of the biggest.
    pixels : {"stored", "uint8", "int16", "uint16"}
        See `Pixels`.
    fold_by : str
        The label of a scan that the index tells as its fold.
    overwrite : bool
        Replace an earlier result.

    Returns
    -------
    Slices
        Skips have the codes ``"no-nodules"``, ``"not-annotated"``, ``"nodule-outside"``, ``"thin"``,
        ``"damaged-scan"``, ``"run-refused"``, ``"run-failed"``.

    Raises
    ------
    InputError
        If no scan is finished, or there is no such scaling.
    OutputError
        If `out` is in use or cannot be written.
    """
    if pixels not in get_args(Pixels):
        raise InputError(f"there is no scaling {pixels!r}", do=f"use {', '.join(get_args(Pixels))}", code="option")
    scans, skipped = list_run(folder, fold_by=fold_by)
    used, number = 0, 0
    with output_folder(out, run=folder, overwrite=overwrite) as partial:
        with (partial / "index.csv").open("w", newline="", encoding="utf-8") as file:
            index = csv.writer(file, lineterminator="\n")
            index.writerow(COLUMNS)
            for scan in scans:
                before = number
                for label, images, masks, facts in _of_scan(scan, every, skipped):
                    names = f"images_{number}.npy", f"masks_{number}.npy"
                    np.save(partial / names[0], scale_slices(images, pixels))
                    np.save(partial / names[1], masks)
                    size = scan.diameter_mm(label)
                    whose = (scan.record.scan_id, scan.uid, scan.fold, label, size)
                    index.writerows(safe_cells([number, *names, row, *whose, *fact]) for row, fact in enumerate(facts))
                    number += 1
                used += number > before
        made = Slices(version=hilum.__version__, pixels=pixels, scans=used, nodules=number, skipped=skipped)
        (partial / SUMMARY).write_bytes(msgspec.json.format(msgspec.json.encode(made)) + b"\n")
    return made


def scale_slices(images: NDArray[Any], pixels: Pixels) -> NDArray[Any]:
    """Stretch each slice from its least to its greatest value over the numbers of a type; a flat one becomes 0.

    Parameters
    ----------
    images : ndarray, shape (n, y, x)
    pixels : {"stored", "uint8", "int16", "uint16"}

    Returns
    -------
    ndarray, shape (n, y, x)
        Rounded half to even.
    """
    if pixels == "stored":
        return images
    low = images.min(axis=(1, 2), keepdims=True).astype(np.float64)
    span = images.max(axis=(1, 2), keepdims=True) - low
    unit = (images - low) / np.where(span > 0, span, 1.0)
    scaled: NDArray[Any] = np.rint(unit * np.iinfo(pixels).max).astype(pixels)
    return scaled


def _of_scan(
    scan: RunScan, every: bool, skipped: list[Skip]
) -> Iterator[tuple[int, NDArray[Any], NDArray[np.uint8], list[tuple[Any, ...]]]]:
    """Label, images, masks and a row of facts a slice for each nodule asked for; the others go to `skipped`."""
    name = scan.record.scan_id
    if not scan.record.nodules:
        skipped.append(no_nodules(scan))
        return
    try:
        check_files(scan)
        ct, drawn = (read_stored(scan.folder, scan.record, part) for part in ("ct", "nodules"))
    except HilumError as problem:
        skipped.append(Skip(scan=name, code="damaged-scan", reason=one_line(problem.what)))
        return
    if ct is None or ct.shape[0] < 3:
        skipped.append(Skip(scan=name, code="thin", reason="it has fewer than three slices"))
        return
    labels = mask_nodules(ct.geometry, scan.nodules).array if drawn is None else drawn.array
    inside = [one for one in scan.record.nodules if one.inside]
    skipped += [
        Skip(scan=name, code="nodule-outside", reason="its center is outside the scan", nodule=one.label)
        for one in scan.record.nodules
        if not one.inside
    ]
    for one in inside if every else sorted(inside, key=lambda one: -one.diameter_mm)[:1]:
        center = ct.geometry.world_to_index(one.world)
        first = int(np.clip(np.rint(center[0]) - 1, 0, ct.shape[0] - 3))
        images = np.array(ct.array[first : first + 3])
        masks = (labels[first : first + 3] == one.label).astype(np.uint8)
        places = ct.geometry.index_to_world([(z, center[1], center[2]) for z in range(first, first + 3)])
        facts = [
            (first + k, *places[k].round(4).tolist(), int(masks[k].sum()), images[k].min(), images[k].max())
            for k in range(3)
        ]
        yield one.label, images, masks, facts
