"""The work of the 2017 tutorial, step by step with its libraries, for comparison.

    python bench/contenders/tutorial.py FOLDER... OUT

Load, Hounsfield units, cubic resampling to 1 mm, the filled 3-D mask, the 2-D mask, a dilation by a ball of 5 voxels,
normalization, two .npy files. Written from the tutorial's description, with the same order of steps and the same
library functions, so that its cost is the same.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
from clock import Stages, run, stage
from scipy import ndimage
from skimage import filters, measure, morphology, segmentation

if TYPE_CHECKING:
    from pathlib import Path

warnings.simplefilter("ignore")  # deprecated names of scikit-image


def load(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read Hounsfield units, and spacing (z, y, x) in mm."""
    files = [pydicom.dcmread(path) for path in folder.iterdir()]
    files.sort(key=lambda file: float(file.ImagePositionPatient[2]))
    thickness = abs(files[0].ImagePositionPatient[2] - files[1].ImagePositionPatient[2])
    volume = np.stack([file.pixel_array for file in files]).astype(np.int16)
    volume[volume == -2000] = 0
    for k, file in enumerate(files):
        if file.RescaleSlope != 1:
            volume[k] = (file.RescaleSlope * volume[k].astype(np.float64)).astype(np.int16)
        volume[k] += np.int16(file.RescaleIntercept)
    return volume, np.array([thickness, *files[0].PixelSpacing], float)


def resample(volume: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Resample to 1 mm, cubic."""
    factors = np.round(volume.shape * spacing) / volume.shape
    out: np.ndarray = ndimage.zoom(volume, factors, mode="nearest", order=3)
    return out


def largest(labels: np.ndarray, background: int) -> int | None:
    """Find the label with the most voxels."""
    values, counts = np.unique(labels, return_counts=True)
    counts = counts[values != background]
    values = values[values != background]
    return int(values[np.argmax(counts)]) if len(counts) else None


def mask_3d(volume: np.ndarray) -> np.ndarray:
    """Give the largest air component inside the body, with everything that it encloses."""
    solid = (volume > -320).astype(np.int8) + 1
    outside = measure.label(solid)
    solid[outside == outside[0, 0, 0]] = 2
    for plane in solid:
        parts = measure.label(plane - 1)
        body = largest(parts, 0)
        if body is not None:
            plane[parts != body] = 1
    lung = 2 - solid
    parts = measure.label(lung, background=0)
    chosen = largest(parts, 0)
    if chosen is not None:
        lung[parts != chosen] = 0
    return lung


def mask_2d(stored: np.ndarray) -> np.ndarray:
    """Do the eight steps on one slice of stored values (HU + 1024)."""
    labels = measure.label(segmentation.clear_border(stored < 604))
    areas = sorted(region.area for region in measure.regionprops(labels))
    if len(areas) > 2:
        for region in measure.regionprops(labels):
            if region.area < areas[-2]:
                rows, columns = region.coords.T
                for row, column in zip(rows, columns, strict=True):
                    labels[row, column] = 0
    opened = morphology.binary_erosion(labels > 0, morphology.disk(2))
    closed = morphology.binary_closing(opened, morphology.disk(10))
    filled = ndimage.binary_fill_holes(filters.roberts(closed))
    stored[~filled] = 0
    return stored


def work(folder: Path, out: Path, stages: Stages) -> dict[str, Any]:
    """Do all steps on one scan; give their results."""
    with stage(stages, "load"):
        hu, spacing = load(folder)
    with stage(stages, "resample"):
        even = resample(hu, spacing)
    with stage(stages, "tutorial3d"):
        lungs = mask_3d(even)
    with stage(stages, "tutorial2d"):
        flat = np.stack([mask_2d(plane.copy()) for plane in hu + np.int16(1024)])
    with stage(stages, "dilate"):
        grown = morphology.binary_dilation(lungs.astype(bool), morphology.ball(5))
    with stage(stages, "normalize"):
        unit = (even - -1000.0) / (400.0 - -1000.0)
        unit[unit > 1] = 1.0
        unit[unit < 0] = 0.0
        unit = unit - 0.25
    with stage(stages, "save"):
        np.save(out / "mask.npy", lungs)
        np.save(out / "unit.npy", unit)
    return {"hu": hu, "even": even, "lungs": lungs, "flat": flat, "grown": grown, "unit": unit}


if __name__ == "__main__":
    run(work)
