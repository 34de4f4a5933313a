"""The parts of a chest on cells whose axes run to the head, the back and the left: body, air, spine and organs."""

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.anatomy import coarse
from hilum._kernels.bitmask import bits, morphology
from hilum._kernels.bitmask.mask import BitMask, Shape
from hilum._kernels.components import labeling, selection
from hilum.geometry import Vector
from hilum.ops.tissues import BONE_MIN_HU, LUNG_AIR_MAX_HU, SOLID_MIN_HU

SHELL_MM = 4.0
"""Solid parts thinner than twice this are not the body: tables, blankets, tubes."""

REGROW_MM = 3.0
"""The body is dilated by so much more than it was eroded, to include what is a little thinner than `SHELL_MM`."""

OUTSIDE_AIR_MAX_HU = -960
"""The air around a patient has a lower mean, whatever lies in it; lungs have a higher one."""

SKIN_CELLS = 2
"""Width of the partial volume between the air outside and the skin."""

ENCLOSED, ENCLOSED_SHARE = (3, 2), 0.3
"""Half of the cells of air inside the body have body in at least three of the four directions of the plane; or in two,
where the field of view cuts a lung that in at least this fraction has body in three."""

SPINE_MM = 15.0
"""Half the width of a vertebra."""

SPINE_MM2 = 500.0
"""A plane of the spine has at least this area of bone in a square of twice `SPINE_MM`; ribs and sternum have less."""

SPINE_PLANES = 0.75
"""At least this fraction of the planes has a spine; other bones do not run along the whole chest."""

CUT_SHARE = 0.1
"""A side of the volume cuts the body if it has so much more of it than the other side."""

ORGAN_MM = 15.0
"""A ball of this radius fits into heart, liver and spleen; vessels, chest walls and nodules are thinner."""

ORGAN_ML = 150.0
"""Heart, liver and what they join have a larger core; a mass that the ball fits into has a smaller one."""


def divide_chest(
    cells: NDArray[np.int16], size: Vector
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Divide a chest into the air outside the patient, the solid body, and the air inside the body.

    Air outside is as dark as gas and connected with a side of its axial plane. Because each plane is separate, an open
    mouth does not connect the lungs with it; because a lung is brighter, neither does a side that cuts through a lung.
    The body is the largest solid component after an erosion that removes thin shells. Air inside has body in most
    directions of its plane; the foam of a table has body in one.

    Parameters
    ----------
    cells : ndarray of int16, shape (cz, cy, cx), HU
        The mean value of each cell.
    size : tuple of float, (z, y, x), mm
        Size of a cell.

    Returns
    -------
    outside, body, inside : ndarray of bool, shape (cz, cy, cx)
    """
    shape: Shape = cells.shape
    dark = bits.at_most(cells, LUNG_AIR_MAX_HU)
    pure = labeling.find_components(bits.at_most(cells, OUTSIDE_AIR_MAX_HU), corners=False, planes=True)
    outside = selection.select(pure, labeling.touching_sides(pure))
    skin = morphology.grow([outside], dark, steps=SKIN_CELLS, planes=True)[0]
    ball = morphology.ellipsoid(SHELL_MM, (np.inf, *size[1:]), shape)
    solid = ~dark
    thick = labeling.find_components(morphology.erode(solid, ball), corners=False)
    largest = labeling.sizes(thick) == labeling.sizes(thick).max(initial=1)
    wide = morphology.ellipsoid(SHELL_MM + REGROW_MM, (np.inf, *size[1:]), shape)
    body = bits.unpack(morphology.dilate(selection.select(thick, largest), wide) & solid)
    planes = labeling.find_components(dark & ~skin, corners=False, planes=True)
    directions = coarse.enclosure(body)
    enclosed, half = (
        selection.select(planes, coarse.component_means(planes, (directions >= least) * np.int16(100), 0.0)[:, 3] >= 50)
        for least in ENCLOSED
    )
    pieces = labeling.find_components(half, corners=False)
    share = coarse.component_means(pieces, bits.unpack(enclosed) * np.int16(100), 0.0)[:, 3]
    inside = enclosed | selection.select(pieces, share >= 100 * ENCLOSED_SHARE)
    return bits.unpack(outside), body, bits.unpack(inside)


def find_middle(cells: NDArray[np.int16], body: NDArray[np.bool_], lungs: NDArray[np.bool_], size: Vector) -> float:
    """Find the middle of the chest along x, in cells.

    It is the spine. Without one in view, it lies beyond the side of the volume that cuts the body, if the other side
    does not: one lung is in view. Else it is the middle of the body.

    Parameters
    ----------
    cells : ndarray of int16, shape (cz, cy, cx), HU
        The mean value of each cell.
    body, lungs : ndarray of bool, shape (cz, cy, cx)
        The cells of the body, and those of the lungs.
    size : tuple of float, (z, y, x), mm
        Edges of a cell.

    Returns
    -------
    float
        -1 if all is on the left, the number of cells along x if all is on the right.
    """
    planes = slice(*_span(lungs, (1, 2)))
    left, right = _span(lungs, (0, 1))
    near = slice(max(0, left - round(SPINE_MM / size[2])), right + round(SPINE_MM / size[2]))  # no arms
    spine = _find_spine((cells[planes, :, near] >= BONE_MIN_HU) & body[planes, :, near], size)
    if spine is not None:
        return near.start + spine
    chest = body[planes] | lungs[planes]
    first, last = (chest[:, :, side].mean() for side in (0, -1))
    if abs(first - last) > CUT_SHARE:
        return -1.0 if first > last else float(cells.shape[2])
    columns = chest.sum(axis=(0, 1))
    return float(np.average(np.arange(columns.size), weights=columns))


def _span(lungs: NDArray[np.bool_], axes: tuple[int, int]) -> tuple[int, int]:
    """The first index of the lungs, and one past the last, along the axis that is left."""
    where = np.flatnonzero(lungs.any(axis=axes))
    return int(where[0]), int(where[-1]) + 1


def _find_spine(bone: NDArray[np.bool_], size: Vector) -> float | None:
    """Find the block of bone that runs along all planes; None where there is none."""
    area = bone.astype(np.float64) * (size[1] * size[2])
    for axis in (1, 2):  # sums over a square of the size of a vertebra around each cell
        half = round(SPINE_MM / size[axis])
        margin = [(half + 1, half) if k == axis else (0, 0) for k in range(3)]
        total = np.moveaxis(np.cumsum(np.pad(area, margin), axis=axis), axis, 0)
        area = np.moveaxis(total[2 * half + 1 :] - total[: -2 * half - 1], 0, axis)
    columns = area.max(axis=1)
    planes = (columns >= SPINE_MM2).mean(axis=0)
    if planes.max() < SPINE_PLANES:
        return None
    weights = np.median(columns, axis=0) * (planes >= SPINE_PLANES)
    near = weights >= 0.9 * weights.max()
    return float(np.average(np.arange(bone.shape[2])[near], weights=weights[near]))


def find_organs(cells: NDArray[np.int16], size: Vector) -> BitMask:
    """Find heart, liver, spleen and what they join: solid tissue that a ball of 30 mm fits into.

    Parameters
    ----------
    cells : ndarray of int16, shape (cz, cy, cx), HU
        The mean value of each cell.
    size : tuple of float, (z, y, x), mm
        Edges of a cell.

    Returns
    -------
    BitMask
    """
    shape: Shape = cells.shape
    solid = ~bits.at_most(cells, SOLID_MIN_HU)
    ball = morphology.ellipsoid(ORGAN_MM, size, shape)
    runs = labeling.find_components(morphology.open_(solid, ball), corners=False)
    large = labeling.sizes(runs) * float(np.prod(size)) >= 1000 * ORGAN_ML
    return selection.select(runs, large)
