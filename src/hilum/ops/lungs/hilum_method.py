"""hilum's own lungs: right and left, on any orientation and slice thickness, without trained weights.

1. The volume is turned so that its axes point to the head, the back and the left.
2. On cells of some 3 mm (`hilum.ops.lungs.cells`): the body, the air inside it, the windpipe, and which air is right
   lung, left lung or neither.
3. The windpipe and main bronchi are grown on voxels and taken out.
4. On voxels: air within the cells of each lung. Where the lungs touch, the border runs along the brightest surface
   nearby, the double pleura (a watershed).
5. Dense lung up to the ribs (`hilum.ops.lungs.dense`) is added.
6. Small fragments go, dents at the wall are closed by a ball, holes of axial planes are filled, and nodules at the wall
   are completed with what lies in the wall (`hilum.ops.lungs.wall_nodules`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hilum._kernels.anatomy import coarse
from hilum._kernels.bitmask import bits, morphology
from hilum._kernels.bitmask.mask import BitMask
from hilum._kernels.components import labeling, selection, watershed
from hilum._kernels.threads import run_slabs
from hilum.ops.finite import as_hu
from hilum.ops.reorient import body_axes, reorient

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum._kernels.bitmask.mask import Shape
    from hilum.ops.lungs.cells import Cells
    from hilum.volume import Volume

AIR_UP_TO = -400
"""HU half way between lung and soft tissue: the boundary of a lung on voxels."""

CLOSE_MM = 8.0
"""Radius of the ball that closes dents of the wall, and vessels that enter from the hilum."""

WALL_MM = 2.5
"""Thickness of what is taken out around the air of the windpipe: its wall, half dark from both sides."""

CONTACT_CELLS = 3.0
"""Where right and left touch, the border between them is sought within this many cells."""

WIDE_MM = 3.5
"""Radius of a ball that fits into the main bronchi, and not into the branches inside the lungs."""

FRAGMENT_ML = 0.5
"""Pieces of lung smaller than this that touch nothing are noise."""


def both_lungs(
    volume: Volume, *, fill: bool = True, dense: bool = True, airways: bool = False, workers: int = 0
) -> NDArray[np.uint8]:
    """Labels of the right (1) and left (2) lung.

    Parameters
    ----------
    volume : Volume
        HU.
    fill : bool
        Whether vessels and nodules belong to it, and dents of the wall are closed.
    dense : bool
        Whether consolidated and hazy parts belong to it.
    airways : bool
        Whether the windpipe and main bronchi, with their walls, are labeled 3.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    ndarray of uint8, shape (z, y, x)
        All 0 where no lung was found.
    """
    order, flips = body_axes(volume.geometry)
    turned = reorient(volume)
    hu = np.ascontiguousarray(as_hu(turned.array))
    labels = _segment(hu, turned.spacing, fill=fill, dense=dense, airways=airways, workers=workers)
    back = np.transpose(labels[tuple(slice(None, None, -1 if flip else 1) for flip in flips)], np.argsort(order))
    return np.ascontiguousarray(back)


def _segment(
    hu: NDArray[np.int16],
    spacing: tuple[float, float, float],
    *,
    fill: bool,
    dense: bool,
    airways: bool,
    workers: int,
) -> NDArray[np.uint8]:
    from hilum.ops.lungs.cells import find_lungs
    from hilum.ops.lungs.wall_nodules import draw_nodules

    shape: Shape = hu.shape
    out = np.zeros(shape, np.uint8)
    cells = find_lungs(hu, spacing, dense=dense, workers=workers)
    if not cells.labels.any():
        return out
    airway = bits.from_coordinates(cells.airway, shape)
    air = bits.at_most(hu, AIR_UP_TO, workers=workers) & ~_with_wall(airway, spacing, shape, workers=workers)
    sides = [air & coarse.to_voxels(cells.labels, label, cells.factors, shape, workers=workers) for label in (1, 2)]
    _part_contact(hu, sides, cells, workers=workers)
    for label in bits.labels_in(cells.dense):
        sides[label - 1] |= coarse.to_voxels(cells.dense, label, cells.factors, shape, workers=workers)
    taken = _with_wall(_wide(airway, spacing, shape, workers=workers), spacing, shape, workers=workers)
    domes = coarse.to_voxels(cells.domes, 1, cells.factors, shape, workers=workers)
    lungs = list(sides)
    masses = {
        label: coarse.to_voxels(cells.masses, label, cells.factors, shape, workers=workers)
        for label in bits.labels_in(cells.masses)
    }

    def finish(first: int, stop: int) -> None:
        for i in range(first, stop):
            lungs[i] = _finish(hu, sides[i], domes, spacing, fill=fill)
            if fill:
                if i + 1 in masses:
                    lungs[i] |= masses[i + 1]
                draw_nodules(lungs[i], hu, cells.balls[i], spacing)

    run_slabs(finish, 2, workers=workers)
    if fill:  # closing may have filled the windpipe, or have made the lungs overlap
        lungs[0] &= ~taken
        lungs[1] &= ~(taken | lungs[0])
    for label, lung in enumerate(lungs, 1):
        bits.write_label(lung, out, label=label, workers=workers)
    if airways:
        bits.write_label(taken & ~(lungs[0] | lungs[1]), out, label=3, workers=workers)
    return out


def _part_contact(hu: NDArray[np.int16], sides: list[BitMask], cells: Cells, *, workers: int) -> None:
    """Move the border between touching lungs, in place, from the edges of cells to the brightest surface nearby."""
    shape: Shape = cells.labels.shape
    right, left = (bits.equal(cells.labels, label) for label in (1, 2))
    ball = morphology.ellipsoid(CONTACT_CELLS, (1.0, 1.0, 1.0), shape)
    around = [morphology.dilate(side, ball) for side in (right, left)]
    contact = bits.unpack((around[0] & left) | (around[1] & right)).view(np.uint8)
    band = coarse.to_voxels(contact, 1, cells.factors, hu.shape, workers=workers)
    inside = bits.bounding_box(band)
    if inside is None:
        return
    near = band.expand_box(inside, (1, 1, 1))
    local = hu[band.to_voxels(near)]
    free = (sides[0] | sides[1]) & band
    labels = np.full(local.shape, 255, np.uint8)
    for voxels, label in ((free, 0), (sides[0] & ~band, 1), (sides[1] & ~band, 2)):
        bits.write_label(voxels.crop(near), labels, label=label)
    grown = watershed.flood(local, labels)
    for label, side in enumerate(sides, 1):
        side.words[near] = bits.equal(grown, label).words


def _finish(
    hu: NDArray[np.int16],
    side: BitMask,
    domes: BitMask,
    spacing: tuple[float, float, float],
    *,
    fill: bool,
) -> BitMask:
    """One lung without fragments and, with `fill`, without holes and dents."""
    from hilum.ops.lungs.wall_nodules import complete_nodules

    lung = BitMask.empty(side.shape)
    inside = bits.bounding_box(side)
    if inside is None:
        return lung
    times = 2 if 6 * max(spacing[1:]) < CLOSE_MM else 1
    ball = morphology.ellipsoid(CLOSE_MM / times, spacing, side.shape)
    reach = [times * int(n) + 1 for n in ball.max(axis=0)]  # so that the closing sees its end
    near = side.expand_box(inside, (reach[0], reach[1], 1 + reach[2] // 64))
    part = side.crop(near)
    pieces = labeling.find_components(part, corners=True)
    large = labeling.sizes(pieces) * float(np.prod(spacing)) >= 1000 * FRAGMENT_ML
    part = selection.select(pieces, large)
    if fill:
        never, air = domes.crop(near), part
        part = morphology.close(part, ball, times=times)
        part |= selection.fill_planes(part) & ~never
        complete_nodules(part, air, hu[side.to_voxels(near)], spacing, never=never)
    lung.words[near] = part.words
    return lung


def _with_wall(airway: BitMask, spacing: tuple[float, float, float], shape: Shape, *, workers: int) -> BitMask:
    wall = morphology.ellipsoid(WALL_MM, spacing, shape)
    return morphology.dilate(airway, wall, workers=workers)


def _wide(airway: BitMask, spacing: tuple[float, float, float], shape: Shape, *, workers: int) -> BitMask:
    """The windpipe and main bronchi; the branches narrower than these belong to the lungs."""
    ball = morphology.ellipsoid(WIDE_MM, spacing, shape)
    return morphology.open_(airway, ball, workers=workers)
