"""Three slices around each nodule or label and its mask in them, as .npy files, as the 2017 tutorial wrote of LUNA16.

The tutorial compared distances with the diameter, so its masks had twice the radius. It also subtracted the minimum
twice when it scaled an image. This module does neither.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

import hilum
from hilum.errors import HilumError, InputError, one_line
from hilum.ops.labels.shares import measure_labels
from hilum.ops.nodules.masks import mask_nodules
from hilum.outputs.records import json_bytes
from hilum.runs.run import AnyRun, open_run
from hilum.train.label_maps import NODULES, label_values, mask_part, scans_with
from hilum.train.output_folder import SUMMARY, output_folder, write_index
from hilum.train.runs import ListedScan, Skip, list_run

Pixels = Literal["stored", "uint8", "int16", "uint16"]

COLUMNS = (
    *("number", "images", "masks", "row", "scan", "series_uid", "fold", "nodule", "diameter_mm"),
    *("slice", "world_x", "world_y", "world_z", "mask_voxels", "lowest", "highest"),
)


class Slices(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``summary.json``: how many scans and nodules (three slices each), and what was left out.

    With a label map, ``nodules`` counts its labels, and ``label_values`` has their values.
    """

    version: str
    pixels: str
    scans: int
    nodules: int
    skipped: list[Skip]
    labels: str = NODULES
    label_values: dict[str, int] = {}


def write_slices(
    folder: AnyRun,
    out: Path,
    *,
    every: bool = False,
    labels: str = NODULES,
    pixels: Pixels = "stored",
    fold_by: str = "fold",
    overwrite: bool = False,
) -> Slices:
    """Write three slices around the largest nodule of each scan of a finished run, or around every nodule.

    ``images_N.npy``, shape (3, y, x), has the slice through the center of nodule N and its two neighbors; at an end of
    the scan, the three last slices. ``masks_N.npy`` has 1 in the nodule, 0 elsewhere. ``index.csv`` has one row per
    slice, with the nodule's center projected onto the slice, in the world, and with the slice's least and greatest
    value. ``summary.json`` lists what was left out.

    Parameters
    ----------
    folder, out, fold_by, overwrite
        As for `hilum.train.patches.write_patches`.
    every : bool
        All nodules of a scan, not only the largest.
    labels : str
        ``"nodules"``, or a label map: then the slices are around the one with most voxels of its largest label, or of
        each of its labels. ``nodule`` in the index is the label's value; there is no ``diameter_mm``.
    pixels : {"stored", "uint8", "int16", "uint16"}
        ``"stored"`` keeps the values. The others stretch the range of each slice over 0 to 255, 0 to 32767, or 0 to
        65535 (which is what the tutorial's function for int16 did).

    Returns
    -------
    Slices
        Skips have the codes ``"no-nodules"``, ``"not-annotated"``, ``"nodule-outside"``, ``"thin"``,
        ``"no-labels"``, ``"empty-labels"``, ``"damaged-scan"``, ``"run-refused"``, ``"run-failed"``.

    Raises
    ------
    InputError
        If no scan is finished, or `pixels` is unknown.
    OutputError
        If `out` is not empty or cannot be written.
    """
    if pixels not in get_args(Pixels):
        raise InputError(f"there is no scaling {pixels!r}", do=f"use {', '.join(get_args(Pixels))}", code="option")
    run = open_run(folder)
    folder = run.folder
    scans, skipped = list_run(run, fold_by=fold_by)
    if labels != NODULES:
        scans, without = scans_with(scans, labels, filled=True)
        skipped += without
    used = number = 0
    with output_folder(out, run=folder, overwrite=overwrite) as partial:
        index: list[list[Any]] = []
        for scan in scans:
            before = number
            for label, images, masks, rows in _scan_slices(scan, labels, every, skipped):
                names = f"images_{number}.npy", f"masks_{number}.npy"
                np.save(partial / names[0], scale_slices(images, pixels))
                np.save(partial / names[1], masks)
                diameter = scan.diameter_mm(label) if labels == NODULES else ""
                nodule = (scan.scan_id, scan.uid, scan.fold, label, diameter)
                index += [[number, *names, k, *nodule, *row] for k, row in enumerate(rows)]
                number += 1
            used += number > before
        write_index(partial, COLUMNS, index)
        summary = Slices(
            version=hilum.__version__,
            pixels=pixels,
            scans=used,
            nodules=number,
            skipped=skipped,
            labels=labels,
            label_values=label_values(scans, labels),
        )
        (partial / SUMMARY).write_bytes(json_bytes(summary))
    return summary


def scale_slices(images: NDArray[Any], pixels: Pixels) -> NDArray[Any]:
    """Stretch the range of each slice, shape (n, y, x), over the range of a type; a slice of one value becomes 0.

    Values are rounded half to even.
    """
    if pixels == "stored":
        return images
    low = images.min(axis=(1, 2), keepdims=True).astype(np.float64)
    span = images.max(axis=(1, 2), keepdims=True) - low
    unit = (images - low) / np.where(span > 0, span, 1.0)
    scaled: NDArray[Any] = np.rint(unit * np.iinfo(pixels).max).astype(pixels)
    return scaled


def _scan_slices(
    scan: ListedScan, part: str, every: bool, skipped: list[Skip]
) -> Iterator[tuple[int, NDArray[Any], NDArray[np.uint8], list[tuple[Any, ...]]]]:
    """Yield label, images, masks and the end of three index rows for each nodule; add the others to `skipped`."""
    if part == NODULES and not scan.record.nodules:
        skipped.append(scan.skip_without_nodules())
        return
    try:
        scan.check_files()
        ct, mask = scan.read("ct"), scan.read(mask_part(part))
    except HilumError as problem:
        skipped.append(scan.skip("damaged-scan", one_line(problem.what)))
        return
    if ct is None or ct.shape[0] < 3:
        skipped.append(scan.skip("thin", "it has fewer than three slices"))
        return
    labels = mask_nodules(ct.geometry, scan.nodules).array if mask is None else mask.array
    if part == NODULES:
        skipped += scan.skip_nodules_outside("nodule-outside")
        inside = scan.nodules_inside
        chosen = inside if every else sorted(inside, key=lambda one: -one.diameter_mm)[:1]
        centers = [(one.label, ct.geometry.world_to_index(one.world)) for one in chosen]
    else:
        found = measure_labels(labels)
        values = list(found) if every else sorted(found, key=lambda value: -found[value].voxels)[:1]
        centers = [(value, _largest_slice(labels == value)) for value in values]
    for label, center in centers:
        first = int(np.clip(np.rint(center[0]) - 1, 0, ct.shape[0] - 3))
        images = np.array(ct.array[first : first + 3])
        masks = (labels[first : first + 3] == label).astype(np.uint8)
        world = ct.geometry.index_to_world([(z, *center[1:]) for z in range(first, first + 3)]).round(4).tolist()
        rows = [(first + k, *world[k], int(masks[k].sum()), images[k].min(), images[k].max()) for k in range(3)]
        yield label, images, masks, rows


def _largest_slice(marked: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The slice with most marked voxels, and their middle in it: a fractional index (z, y, x)."""
    z = int(np.count_nonzero(marked, axis=(1, 2)).argmax())
    return np.array([z, *np.argwhere(marked[z]).mean(axis=0)])
