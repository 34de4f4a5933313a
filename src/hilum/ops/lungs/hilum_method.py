"""hilum's own lung method: right and left, for any orientation and slice thickness, without trained weights.

1. The volume is reoriented: its axes run to the head, the back and the left.
2. On cells of some 3 mm (`hilum.ops.lungs.cells`) it finds the body, the air inside it, the trachea, and which air is
   right lung, left lung or neither.
3. The trachea and main bronchi are grown on voxels and removed.
4. The voxels of air in the cells of each lung are the lung. Where the lungs touch, a watershed places the border on the
   brightest surface nearby, the double pleura.
5. Dense lung up to the ribs (`hilum.ops.lungs.dense`) is added.
6. Small fragments are removed, dents at the wall are closed by a ball, holes of axial planes are filled, and nodules at
   the wall are completed (`hilum.ops.lungs.wall_nodules`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from hilum._kernels.anatomy import coarse
from hilum._kernels.bitmask import bits, morphology
from hilum._kernels.bitmask.mask import BitMask
from hilum._kernels.components import labeling, selection, watershed
from hilum._kernels.threads import run_slabs
from hilum.ops.finite import as_hu
from hilum.ops.lungs.cells import find_lung_cells
from hilum.ops.lungs.wall_nodules import complete_nodules, draw_nodules
from hilum.ops.reorient import reorient, restore_axes
from hilum.ops.tissues import LUNG_AIR_MAX_HU
from hilum.scan import AIRWAYS, LEFT_LUNG, RIGHT_LUNG

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum._kernels.bitmask.mask import Shape
    from hilum.geometry import Vector
    from hilum.ops.lungs.cells import LungCells
    from hilum.volume import Volume

CLOSE_MM = 8.0
"""Radius of the ball that closes dents of the wall, and vessels that enter from the hilum."""

WALL_MM = 2.5
"""The air of the trachea is dilated by this, to include its wall."""

CONTACT_CELLS = 3.0
"""Where the lungs touch, the border between them is searched within this many cells."""

WIDE_MM = 3.5
"""Radius of a ball that fits into the main bronchi, but not into the branches inside the lungs."""

FRAGMENT_ML = 0.5
"""Smaller components of lung are noise."""


def both_lungs(
    volume: Volume, *, fill: bool = True, dense: bool = True, airways: bool = False, workers: int = 0
) -> NDArray[np.uint8]:
    """Label the right lung 1 and the left lung 2.

    Parameters
    ----------
    volume : Volume
        HU.
    fill : bool
        Whether vessels and nodules belong to the lungs, and dents of the wall are closed.
    dense : bool
        Whether consolidations and ground-glass belong to the lungs.
    airways : bool
        Whether the trachea and main bronchi, with their walls, are labeled 3.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    ndarray of uint8, shape (z, y, x)
        All 0 if no lung was found.
    """
    oriented = reorient(volume)
    hu = np.ascontiguousarray(as_hu(oriented.array))
    shape, spacing = oriented.shape, oriented.spacing
    cells = find_lung_cells(hu, spacing, dense=dense, workers=workers)
    if not cells.labels.any():
        return np.zeros(volume.shape, np.uint8)
    on_voxels = partial(coarse.to_voxels, factors=cells.factors, shape=shape, workers=workers)
    airway = bits.from_coordinates(cells.airway, shape)
    air = bits.at_most(hu, LUNG_AIR_MAX_HU, workers=workers) & ~_with_wall(airway, spacing, workers=workers)
    sides = [air & on_voxels(cells.labels, label) for label in (RIGHT_LUNG, LEFT_LUNG)]
    _split_contact(hu, sides, cells, workers=workers)
    for label in bits.labels_in(cells.dense):
        sides[label - 1] |= on_voxels(cells.dense, label)
    wide = morphology.open_(airway, morphology.ellipsoid(WIDE_MM, spacing, shape), workers=workers)
    main_airways = _with_wall(wide, spacing, workers=workers)
    domes = on_voxels(cells.domes, 1)
    lungs = list(sides)
    masses = {label: on_voxels(cells.masses, label) for label in bits.labels_in(cells.masses)}

    def finish(first: int, stop: int) -> None:
        for i in range(first, stop):
            lungs[i] = _finish(hu, sides[i], domes, spacing, fill=fill)
            if fill:
                if i + 1 in masses:
                    lungs[i] |= masses[i + 1]
                draw_nodules(lungs[i], hu, cells.balls[i], spacing)

    run_slabs(finish, 2, workers=workers)
    if fill:  # closing may have filled the trachea, or made the lungs overlap
        lungs[0] &= ~main_airways
        lungs[1] &= ~(main_airways | lungs[0])
    out = np.zeros(shape, np.uint8)
    for label, lung in zip((RIGHT_LUNG, LEFT_LUNG), lungs, strict=True):
        bits.write_label(lung, out, label=label, workers=workers)
    if airways:
        bits.write_label(main_airways & ~(lungs[0] | lungs[1]), out, label=AIRWAYS, workers=workers)
    return restore_axes(out, volume.geometry)


def _split_contact(hu: NDArray[np.int16], sides: list[BitMask], cells: LungCells, *, workers: int) -> None:
    """Move the border between touching lungs, in place, from the edges of cells to the brightest surface nearby."""
    shape: Shape = cells.labels.shape
    right, left = (bits.equal(cells.labels, label) for label in (RIGHT_LUNG, LEFT_LUNG))
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


def _finish(hu: NDArray[np.int16], side: BitMask, domes: BitMask, spacing: Vector, *, fill: bool) -> BitMask:
    """Remove fragments from a lung; with `fill` also close holes and dents, and complete nodules at the wall."""
    lung = BitMask.empty(side.shape)
    inside = bits.bounding_box(side)
    if inside is None:
        return lung
    times = 2 if 6 * max(spacing[1:]) < CLOSE_MM else 1
    ball = morphology.ellipsoid(CLOSE_MM / times, spacing, side.shape)
    margin = [times * int(n) + 1 for n in ball.max(axis=0)]  # wide enough for the closing
    near = side.expand_box(inside, (margin[0], margin[1], 1 + margin[2] // 64))
    part = side.crop(near)
    components = labeling.find_components(part, corners=True)
    large = labeling.sizes(components) * float(np.prod(spacing)) >= 1000 * FRAGMENT_ML
    part = selection.select(components, large)
    if fill:
        excluded, air = domes.crop(near), part
        part = morphology.close(part, ball, times=times)
        part |= selection.fill_planes(part) & ~excluded
        complete_nodules(part, air, hu[side.to_voxels(near)], spacing, excluded=excluded)
    lung.words[near] = part.words
    return lung


def _with_wall(airway: BitMask, spacing: Vector, *, workers: int) -> BitMask:
    return morphology.dilate(airway, morphology.ellipsoid(WALL_MM, spacing, airway.shape), workers=workers)
