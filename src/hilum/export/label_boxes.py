"""Boxes of the connected components of a label map's labels, in voxels and in the world."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.bitmask import bits
from hilum._kernels.components import labeling, selection
from hilum.errors import MissingInputError
from hilum.ops.labels.shares import measure_labels
from hilum.outputs.finished import LABELS
from hilum.train.runs import ListedScan


class Bounds(NamedTuple):
    """Lower corner, center and upper corner of a box, each an ndarray, shape (3,)."""

    low: NDArray[np.float64]
    center: NDArray[np.float64]
    high: NDArray[np.float64]


class LabelBox(NamedTuple):
    """The box of a component.

    Parameters
    ----------
    label : str
        Name of the label that the component has.
    value : int
        Of its label in the mask.
    number : int
        1, 2, ... within the scan.
    diameter_mm : float
        Of the sphere with its volume.
    voxel : Bounds, (z, y, x)
        Fractional voxel indices: the outer edges of its voxels.
    world : Bounds, (x, y, z), LPS mm
        Along the axes of the world, around all of its voxels.
    """

    label: str
    value: int
    number: int
    diameter_mm: float
    voxel: Bounds
    world: Bounds


def label_boxes(scan: ListedScan, name: str, values: Mapping[str, int]) -> Iterator[LabelBox]:
    """Give the box of every component of a label map's labels, in the order of their values.

    Voxels of a label that share a face, an edge or a corner are one component.
    """
    if (stored := scan.read(f"{LABELS}/{name}")) is None:
        raise MissingInputError(f"has no label map {name}", where=scan.folder, do="run it again")
    grid, found, number = scan.geometry, measure_labels(stored.array), 0
    half = np.abs(np.array(grid.direction).T * grid.spacing).sum(axis=1) / 2  # of a voxel along the axes of the world
    for label, value in values.items():
        if value not in found:
            continue
        box = found[value].box
        first = np.array([side.start for side in box])
        runs = labeling.find_components(bits.pack(np.ascontiguousarray(stored.array[box] == value)), corners=True)
        numbers = selection.label_image(runs)
        for k, (low, high) in enumerate(labeling.boxes(runs).reshape(-1, 2, 3), start=1):
            inside = tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))
            index = np.argwhere(numbers[inside] == k) + low + first
            world, number = grid.index_to_world(index), number + 1
            volume = len(index) * grid.voxel_volume
            yield LabelBox(
                label, value, number, float(np.cbrt(6 * volume / np.pi)),
                _bounds(low + first - 0.5, high + first - 0.5),
                _bounds(world.min(axis=0) - half, world.max(axis=0) + half),
            )  # fmt: skip


def _bounds(low: NDArray[np.float64], high: NDArray[np.float64]) -> Bounds:
    return Bounds(low, (low + high) / 2, high)
