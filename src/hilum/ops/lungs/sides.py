"""Tell lung from other air inside the body, and right from left, on cells whose axes run to the head, back and left.

1. Gas in trachea, stomach, bowel or sinuses has a wall around it; gas in emphysema has lung around it.
2. Parenchyma: the other air, as far as a ball fits into it, with ribs beside it. Large components are lung.
3. Lung and gas grow, darkest cells first, and meet at the bright wall between them (a watershed).
4. The air of the lungs is eroded more and more, until there are separate cores on the right and on the left of the
   spine. They grow back in the same way, and meet at the bright seam where the lungs touch.
"""

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.anatomy import coarse
from hilum._kernels.bitmask import bits, morphology
from hilum._kernels.bitmask.mask import BitMask, Shape
from hilum._kernels.components import labeling, selection, watershed
from hilum.geometry import Vector
from hilum.ops.tissues import BONE_MIN_HU
from hilum.scan import LEFT_LUNG, RIGHT_LUNG

OTHER_AIR = 3
"""Label of air inside the body that is not lung."""

GAS_CELLS = 2
"""Cells this near to walled gas may be partial volume of its wall."""

PARENCHYMA_MM = 6.5
"""Radius of the ball that fits into parenchyma; a shell of partial volume is thinner."""

LUNG_ML = 15.0
LUNG_MIN_HU = -955
"""Less parenchyma, or darker parenchyma, is not a lung but room air."""

SECOND_LUNG = 0.03
"""A lung has at least this fraction of the larger lung's cells."""

GROUND_GLASS_HU, GROUND_GLASS_MM = (-400, -150), 4.5
"""Cells of ground-glass are brighter than aerated lung and darker than fat, and a ball of this radius fits into them;
partial volume at a wall is thinner."""

EROSION_MM = (0.0, 3.2, 6.4, 9.6, 12.8)
"""Erosions of the air of the lungs to separate right and left, tried in this order."""

ONE_SIDE = 0.7
"""A core is a right or a left lung if at least this fraction of it lies on that side of the middle."""

RIBS_MM, RIBS_PLANES = 12.0, 0.3
"""The ribs or the spine lie within this distance of a lung, in at least this fraction of its planes."""


def find_parenchyma(cells: NDArray[np.int16], inside: NDArray[np.bool_], gas: BitMask, size: Vector) -> BitMask:
    """Find the parenchyma of the lungs: empty if there is too little for a lung.

    Parameters
    ----------
    cells : ndarray of int16, shape (cz, cy, cx), HU
        The mean value of each cell.
    inside : ndarray of bool, shape (cz, cy, cx)
        Air inside the body.
    gas : BitMask
        From `hilum.ops.gas.find_walled_gas`.
    size : tuple of float, (z, y, x), mm
        Edges of a cell.

    Returns
    -------
    BitMask
    """
    shape: Shape = cells.shape
    near_gas = morphology.dilate(gas, morphology.ellipsoid(GAS_CELLS, (1.0, 1.0, 1.0), shape))
    candidates = bits.pack(inside) & ~near_gas
    opened = morphology.open_(candidates, morphology.ellipsoid(PARENCHYMA_MM, size, shape)) & candidates
    runs = labeling.find_components(opened, corners=False)
    if not runs.number:
        return opened
    hu = coarse.component_means(runs, cells, 0.0)[:, 3]
    sizes = labeling.sizes(runs) * (_has_ribs(cells, runs, size) & (hu >= LUNG_MIN_HU))
    least = max(1000 * LUNG_ML / float(np.prod(size)), SECOND_LUNG * sizes.max())
    return selection.select(runs, sizes >= least)


def _has_ribs(cells: NDArray[np.int16], runs: labeling.Runs, size: Vector) -> NDArray[np.bool_]:
    """Tell which components have bone beside them, in enough of their planes; the foam of a table has none."""
    flat = morphology.ellipsoid(RIBS_MM, (np.inf, *size[1:]), runs.shape)
    near_bone = bits.unpack(morphology.dilate(bits.threshold(cells, BONE_MIN_HU, 32767), flat))
    labels = selection.label_image(runs)
    z, y, x = np.nonzero(labels)
    plane = labels[z, y, x] * np.int64(len(labels)) + z
    size_of = (runs.number + 1) * len(labels)
    planes, with_bone = (
        (np.bincount(part, minlength=size_of) > 0).reshape(-1, len(labels)).sum(axis=1)
        for part in (plane, plane[near_bone[z, y, x]])
    )
    has_ribs: NDArray[np.bool_] = with_bone[1:] >= RIBS_PLANES * planes[1:]
    return has_ribs


def label_sides(
    cells: NDArray[np.int16],
    inside: NDArray[np.bool_],
    parenchyma: BitMask,
    gas: BitMask,
    airway: NDArray[np.bool_],
    size: Vector,
    middle: float,
) -> NDArray[np.uint8]:
    """Label the air inside the body as right lung, left lung or other air.

    Parameters
    ----------
    cells : ndarray of int16, shape (cz, cy, cx), HU
        The mean value of each cell.
    inside : ndarray of bool, shape (cz, cy, cx)
        The cells of air inside the body.
    parenchyma : BitMask
        From `find_parenchyma`; not empty.
    gas : BitMask
        From `hilum.ops.gas.find_walled_gas`.
    airway : ndarray of bool, shape (cz, cy, cx)
        Cells of the trachea and the main bronchi.
    size : tuple of float, (z, y, x), mm
        Edges of a cell.
    middle : float
        From `hilum.ops.lungs.chest.find_middle`.

    Returns
    -------
    ndarray of uint8, shape (cz, cy, cx)
        0, `RIGHT_LUNG`, `LEFT_LUNG` or `OTHER_AIR`.
    """
    seeds = bits.unpack(parenchyma).astype(np.uint8)
    seeds[(bits.unpack(gas) & (seeds == 0)) | airway] = OTHER_AIR
    labels = watershed.flood(cells, np.where(inside, seeds, np.uint8(255)))
    lungs = labels == 1
    cores = np.where(lungs, _side_cores(bits.pack(lungs), size, middle), np.uint8(255))
    return np.where(lungs, watershed.flood(cells, cores), labels)


def find_ground_glass(cells: NDArray[np.int16], labels: NDArray[np.uint8], size: Vector) -> NDArray[np.uint8]:
    """Label the cells of ground-glass that are connected with a lung.

    Parameters
    ----------
    cells : ndarray of int16, shape (cz, cy, cx), HU
        The mean value of each cell.
    labels : ndarray of uint8, shape (cz, cy, cx)
        From `label_sides`.
    size : tuple of float, (z, y, x), mm
        Edges of a cell.

    Returns
    -------
    ndarray of uint8, shape (cz, cy, cx)
        `RIGHT_LUNG` or `LEFT_LUNG` in ground-glass, 0 elsewhere.
    """
    gray = bits.threshold(cells, GROUND_GLASS_HU[0] + 1, GROUND_GLASS_HU[1])
    ball = morphology.ellipsoid(GROUND_GLASS_MM, size, cells.shape)
    groups = bits.unpack(morphology.open_(gray, ball) & gray)
    grown = coarse.grow_labels(labels, groups)
    return np.where(groups & (grown != OTHER_AIR), grown, np.uint8(0))


def _side_cores(lungs: BitMask, size: Vector, middle: float) -> NDArray[np.uint8]:
    """Label the cores of both lungs; of one where only one is in view."""
    shape: Shape = lungs.shape
    best: NDArray[np.uint8] | None = None
    for erosion in EROSION_MM:
        eroded = morphology.erode(lungs, morphology.ellipsoid(erosion, size, shape)) if erosion else lungs
        runs = labeling.find_components(eroded, corners=False)
        labels = _core_labels(runs, middle)
        if {RIGHT_LUNG, LEFT_LUNG} <= set(labels.tolist()):
            return selection.value_image(runs, labels)
        if best is None and labels.any():
            best = selection.value_image(runs, labels)
    if best is not None:
        return best
    side = np.where(np.arange(shape[2]) < middle, RIGHT_LUNG, LEFT_LUNG).astype(np.uint8)
    return side * bits.unpack(lungs).view(np.uint8)  # no erosion separates the lungs: divide them at the middle


def _core_labels(runs: labeling.Runs, middle: float) -> NDArray[np.uint8]:
    """The label of each core that is large enough and lies on one side; 0 for the others."""
    labels = np.zeros(runs.number, np.uint8)
    if not runs.number:
        return labels
    sizes = labeling.sizes(runs)
    right = coarse.component_means(runs, np.zeros(runs.shape, np.int16), middle)[:, 4]
    large = sizes >= SECOND_LUNG * sizes.max()
    labels[large & (right >= ONE_SIDE)] = RIGHT_LUNG
    labels[large & (right <= 1 - ONE_SIDE)] = LEFT_LUNG
    if not labels[np.argmax(sizes)]:
        labels[:] = 0
    return labels
