"""Label the air inside the body as right or left lung, on cells whose axes run to the head, the back and the left.

1. The air is eroded more and more, until there are separate components on the right and on the left: the cores.
2. A core of gas, darker than the lungs and low in the body, is stomach or bowel.
3. The cores grow back, darkest cells first, and meet at the bright seam where the lungs touch (a watershed). Air that
   the gas reached is not lung.
4. Components without a core are lung if they lie away from the middle and not low.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hilum._kernels.anatomy import coarse
from hilum._kernels.bitmask import bits, morphology
from hilum._kernels.components import labeling, selection, watershed
from hilum.scan import LEFT_LUNG, RIGHT_LUNG

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum._kernels.bitmask.mask import Shape
    from hilum._kernels.components.labeling import Runs
    from hilum.geometry import Vector

OTHER_AIR = 3
"""Label of air inside the body that is not lung."""

EROSION_MM = (0.0, 3.2, 6.4, 9.6, 12.8)
"""Erosions of the air to separate right and left, tried in this order."""

ONE_SIDE = 0.7
"""A core is a right or a left lung if at least this fraction of it lies on that side of the middle."""

SECOND_LUNG = 0.1
"""The smaller lung has at least this fraction of the larger one's cells; smaller components are not a lung."""

LEAST_ML = 10.0
"""Less air than this inside the body is not a lung."""

COMPONENT_ML = 2.0
"""A part of a lung that is separated by fluid or a scar has at least this volume."""

GAS_MAX_HU = -975
"""The mean of a component of pure gas is lower than this; that of a lung is not."""

LOW = 0.35
"""Gas is low if it lies below this fraction of the lungs' height."""

OFF_MIDDLE_MM = 25.0
"""Separate air nearer to the middle than this is trachea or esophagus."""


def label_sides(cells: NDArray[np.int16], air: NDArray[np.bool_], size: Vector, middle: float) -> NDArray[np.uint8]:
    """Label the air inside the body as right lung, left lung or other air.

    Parameters
    ----------
    cells : ndarray of int16, shape (cz, cy, cx), HU
    air : ndarray of bool, shape (cz, cy, cx)
    size : tuple of float, (z, y, x), mm
    middle : float
        The middle of the body along x, in cells.

    Returns
    -------
    ndarray of uint8, shape (cz, cy, cx)
        0, `RIGHT_LUNG`, `LEFT_LUNG` or `OTHER_AIR`.
    """
    uneroded = _components(cells, air, size, middle, erosion=0.0)
    if not len(uneroded.sizes) or uneroded.sizes.max() * float(np.prod(size)) < 1000 * LEAST_ML:
        return np.zeros(air.shape, np.uint8)
    best = None
    for erosion in EROSION_MM:
        components = _components(cells, air, size, middle, erosion=erosion) if erosion else uneroded
        core_labels = _label_cores(components, size)
        if {RIGHT_LUNG, LEFT_LUNG} <= set(core_labels.tolist()):
            best = components, core_labels
            break
        if best is None and core_labels.any():
            best = components, core_labels
    if best is None:
        return _halves(uneroded, middle)
    seeds = selection.value_image(best[0].runs, best[1])
    labels = watershed.flood(cells, np.where(air, seeds, np.uint8(255)))
    return np.where(labels == 0, _separate_parts(uneroded, labels, size, middle), labels)


class _Components(NamedTuple):
    """Components of air: runs, sizes in cells, centers (cz, cy, cx), mean HU, fraction right of the middle, boxes."""

    runs: Runs
    sizes: NDArray[np.int64]
    centers: NDArray[np.float64]
    hu: NDArray[np.float64]
    right: NDArray[np.float64]
    boxes: NDArray[np.int32]


def _components(
    cells: NDArray[np.int16], air: NDArray[np.bool_], size: Vector, middle: float, *, erosion: float
) -> _Components:
    shape: Shape = air.shape
    eroded = bits.pack(air)
    if erosion:
        eroded = morphology.erode(eroded, morphology.ellipsoid(erosion, size, shape))
    runs = labeling.find_components(eroded, corners=False)
    means = coarse.component_means(runs, cells, middle)
    boxes = labeling.boxes(runs)
    return _Components(runs, labeling.sizes(runs), means[:, :3], means[:, 3], means[:, 4], boxes)


def _is_gas(components: _Components, main: int) -> NDArray[np.bool_]:
    """Tell which components are gas in stomach or bowel: darker than the lungs, and low in the body."""
    low, high = components.boxes[main, 0], components.boxes[main, 3]
    dark = (components.hu < GAS_MAX_HU) | ((components.hu < components.hu[main] - 60) & (components.hu < -920))
    is_gas: NDArray[np.bool_] = dark & (components.centers[:, 0] < low + LOW * (high - low))
    return is_gas


def _label_cores(components: _Components, size: Vector) -> NDArray[np.uint8]:
    """The label of each component that is large enough to be a core; 0 for the others."""
    labels = np.zeros(len(components.sizes), np.uint8)
    if not len(labels):
        return labels
    main = int(np.argmax(np.where(components.hu > GAS_MAX_HU, components.sizes, 0)))
    gas = _is_gas(components, main)
    large = components.sizes >= SECOND_LUNG * components.sizes[main]
    labels[large & (components.right >= ONE_SIDE)] = RIGHT_LUNG
    labels[large & (components.right <= 1 - ONE_SIDE)] = LEFT_LUNG
    labels[gas & (components.sizes * float(np.prod(size)) >= 1000 * COMPONENT_ML)] = OTHER_AIR
    if labels[main] == OTHER_AIR or not labels[main]:
        labels[:] = 0
    return labels


def _halves(components: _Components, middle: float) -> NDArray[np.uint8]:
    """Divide the largest component at the middle of the body, for lungs that no erosion separates."""
    largest = np.zeros(len(components.sizes), np.uint8)
    largest[np.argmax(components.sizes)] = 1
    side = np.where(np.arange(components.runs.shape[2]) < middle, RIGHT_LUNG, LEFT_LUNG).astype(np.uint8)
    return side * selection.value_image(components.runs, largest)


def _separate_parts(
    components: _Components, labels: NDArray[np.uint8], size: Vector, middle: float
) -> NDArray[np.uint8]:
    """Label the parts of the lungs without a core: large enough, away from the middle, and not low."""
    planes = np.flatnonzero(((labels == RIGHT_LUNG) | (labels == LEFT_LUNG)).any(axis=(1, 2)))
    low, high = planes[0], planes[-1] + 1
    off = (components.centers[:, 2] - middle) * size[2]
    fits = (np.abs(off) >= OFF_MIDDLE_MM) & (components.sizes * float(np.prod(size)) >= 1000 * COMPONENT_ML)
    fits &= (components.centers[:, 0] >= low + LOW * (high - low)) & (components.centers[:, 0] < high)
    sides = np.where(off < 0, RIGHT_LUNG, LEFT_LUNG).astype(np.uint8) * fits
    return selection.value_image(components.runs, sides)
