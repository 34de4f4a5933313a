"""Common mistakes of 2017 code, and what each would do to a scan: how far it moves a nodule, what it does to values."""

import re

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.geometry import Geometry
from hilum.ops.bounding_box import bounding_box
from hilum.ops.nodules.masks import mask_nodules
from hilum.ops.resample import resampled_geometry
from hilum.scan import Nodule, Scan
from hilum.volume import Mask

_WATER_UNIT = 1000 / 1400  # 0 HU after scaling [-1000, 400] HU to [0, 1]


def displacements(geometry: Geometry, points: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """Measure how far each mistake moves points of a scan that is resampled to 1 mm.

    Parameters
    ----------
    geometry : Geometry
        The scan's own grid.
    points : array_like, shape (n, 3), (x, y, z), LPS mm
        The positions to move.

    Returns
    -------
    dict of str to ndarray, shape (n,), mm
        By the name of the mistake, the distance of each point from its true position.
    """
    world = np.asarray(points, np.float64).reshape(-1, 3)
    return {
        "wrong scale": corner_grid_mm(geometry, world, spacing=1.0),
        "slices out of order": slice_order_mm(geometry, world),
        "axis directions ignored": direction_mm(geometry, world),
    }


def corner_grid_mm(geometry: Geometry, points: NDArray[np.float64], *, spacing: float) -> NDArray[np.float64]:
    """Map voxel v to v s / s', although a zoom with matching corners maps it to v (n' - 1) / (n - 1).

    s' is s n / n', as the 2017 tutorial returns it. Arguments and result as in `displacements`.
    """
    new = resampled_geometry(geometry, spacing=spacing, grid="corner")
    moved = new.index_to_world(geometry.world_to_index(points) * (np.array(new.shape) / geometry.shape))
    distance: NDArray[np.float64] = np.linalg.norm(moved - points, axis=-1)
    return distance


def slice_order_mm(geometry: Geometry, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sort slices by the integer part of z: slices with the same integer may come in any order.

    The result is the largest possible displacement of the slice, along axis 0, of each point.
    """
    count = geometry.shape[0]
    index = np.zeros((count, 3))
    index[:, 0] = np.arange(count)
    integers = np.trunc(np.round(geometry.index_to_world(index)[:, 2], 6))
    nearest = np.clip(np.rint(geometry.world_to_index(points)[:, 0]), 0, count - 1).astype(int)
    same = integers[nearest][:, None] == integers
    steps = np.abs(nearest[:, None] - np.arange(count)) * geometry.spacing[0]
    worst: NDArray[np.float64] = np.where(same, steps, 0.0).max(axis=1)
    return worst


def direction_mm(geometry: Geometry, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide (point - origin) by the spacing, as if the axes always ran to the left, the back and the head."""
    index = ((points - geometry.origin) / geometry.spacing[::-1])[:, ::-1]
    distance: NDArray[np.float64] = np.linalg.norm(geometry.index_to_world(index) - points, axis=-1)
    return distance


def measured_points(scan: Scan, lungs: Mask | None) -> tuple[NDArray[np.float64], str]:
    """Choose the points, shape (n, 3), (x, y, z), LPS mm, at which mistakes are measured, and say what they are.

    They are the nodules, else the corners of the box around the lungs, else those of the scan.
    """
    if scan.nodules:
        count = len(scan.nodules)
        return np.array([n.center for n in scan.nodules]), "the nodule" if count == 1 else f"the {count} nodules"
    grid, low, high, what = scan.ct.geometry, np.zeros(3), np.array(scan.ct.shape) - 1.0, "the corners"
    if lungs is not None and (box := bounding_box(lungs.array > 0)):
        grid, what = lungs.geometry, "the corners of the lungs' box"
        low, high = np.array([s.start for s in box], float), np.array([s.stop - 1.0 for s in box])
    return grid.index_to_world([np.where(corner, high, low) for corner in np.ndindex(2, 2, 2)]), what


def value_mistakes(scan: Scan) -> list[str]:
    """Say what mistakes do to masks and values: the diameter used as radius, padding set to 0 HU."""
    sentences = []
    if scan.nodules:
        largest = max(scan.nodules, key=lambda n: n.diameter_mm)
        mm = largest.diameter_mm
        right, wrong = (mask_nodules(scan.ct.geometry, [Nodule(largest.center, d)]).volume_ml() for d in (mm, 2 * mm))
        text = f"the mask of the largest nodule ({mm:.1f} mm) grows from {right:.2f} to {wrong:.2f} ml"
        sentences.append(f"Diameter used as radius: {text}.")
    counts = [re.match(r"\d+", note.text) for note in scan.notes if note.code == "padding-to-air"]
    padded, size = sum(int(count[0]) for count in counts if count), scan.ct.array.size
    text = "no effect, because this scan has no padding"
    if padded:
        share = f"{padded:,} voxels, {100 * padded / size:.1f} % of the scan"
        text = f"{share}; the mean of [-1000, 400] HU scaled to [0, 1] rises by {_WATER_UNIT * padded / size:.3f}"
    return [*sentences, f"Voxels outside the scanned circle (padding) set to water, 0 HU, instead of air: {text}."]
