"""hilum's own lung method: right and left, for any orientation and slice thickness, without trained weights.

1. The volume is reoriented: its axes run to the head, the back and the left.
2. On cubic cells of 3 mm, the same on every grid (`hilum.ops.lungs.cells`), it finds the body, the air inside it, the
   trachea, and which air is right lung, left lung or neither. All decisions are taken there.
3. The trachea and main bronchi are grown on voxels and removed.
4. The voxels in the cells of each lung that are darker than the border are the lung. The border lies half way between
   the scan's own lung and the chest wall. Ground-glass is added.
5. Small fragments are removed, dents at the wall are closed by a ball, and holes of axial planes are filled, but not
   with heart, liver or spleen. Nodules and masses at the wall, found on cells, are added
   (`hilum.ops.lungs.wall_nodules`).

Consolidation and fluid at the wall look like the organs beside them, and are left out; the measurements of a mask say
how much may be missing (`hilum.ops.quality.lung_mask`).
"""

import math

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.anatomy import canonical
from hilum._kernels.bitmask import bits, morphology
from hilum._kernels.bitmask.mask import BitMask
from hilum._kernels.components import labeling, selection
from hilum._kernels.threads import run_slabs
from hilum.geometry import Vector
from hilum.ops.finite import as_hu
from hilum.ops.lungs.borders import GROUND_GLASS_MAX_HU, airway_walls, close_dents
from hilum.ops.lungs.cells import find_lung_cells
from hilum.ops.lungs.wall_nodules import draw_nodules, find_masses, find_nodules
from hilum.ops.reorient import reorient, restore_axes
from hilum.scan import AIRWAYS, LEFT_LUNG, RIGHT_LUNG
from hilum.volume import Volume

ORGAN_MM = 3.0
"""Holes are not filled this near to an organ, or in the next slice: there lies the partial volume of its border."""

CLOSE_MM = 5.0
"""Radius of the ball that closes dents of the wall, and small vessels that enter from the hilum."""

WIDE_MM = 3.5
"""Radius of a ball that fits into the main bronchi, but not into the branches inside the lungs."""

FRAGMENT_ML = 0.5
FRAGMENT_SHARE = 0.02
"""Smaller components, or components below this fraction of the largest, are not lung."""


def both_lungs(
    volume: Volume, *, fill: bool = True, ground_glass: bool = True, airways: bool = False, workers: int = 0
) -> NDArray[np.uint8]:
    """Label the right lung 1 and the left lung 2.

    Parameters
    ----------
    volume : Volume
        HU.
    fill : bool
        Whether vessels and nodules belong to the lungs, and dents of the wall are closed.
    ground_glass : bool
        Whether ground-glass that is brighter than the border of the lungs belongs to them.
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
    cells = find_lung_cells(hu, spacing, workers=workers)
    if not cells.labels.any():
        return np.zeros(volume.shape, np.uint8)
    airway = bits.from_coordinates(cells.airway, shape)
    air = bits.at_most(hu, cells.border_hu, workers=workers) & ~airway_walls(airway, spacing, workers=workers)
    labels = (RIGHT_LUNG, LEFT_LUNG)
    sides = [air & canonical.to_voxels(cells.near == label, cells.grid, workers=workers) for label in labels]
    if ground_glass and cells.ground_glass.any():
        gray = bits.at_most(hu, GROUND_GLASS_MAX_HU, workers=workers)
        groups = [canonical.to_voxels(cells.ground_glass == label, cells.grid, workers=workers) for label in labels]
        sides = [side | (gray & group) for side, group in zip(sides, groups, strict=True)]
    wide = morphology.open_(airway, morphology.ellipsoid(WIDE_MM, spacing, shape), workers=workers)
    main_airways = airway_walls(wide, spacing, workers=workers)
    organs = canonical.to_voxels(cells.organs, cells.grid, workers=workers)
    reach = morphology.ellipsoid(ORGAN_MM, (min(ORGAN_MM, spacing[0]), *spacing[1:]), shape)
    near_organs = morphology.dilate(organs, reach, workers=workers)
    lungs = list(sides)
    if fill:
        masses, balls = find_masses(cells)
        nodules = find_nodules(hu, cells, workers=workers)

    def finish(first: int, stop: int) -> None:
        for i in range(first, stop):
            lungs[i] = _without_fragments(sides[i], spacing)
            if fill:
                lungs[i] |= canonical.smooth_to_voxels(masses == labels[i], cells.grid)
                lungs[i] = _close(lungs[i], near_organs, spacing)
                draw_nodules(lungs[i], hu, np.concatenate([balls[i], nodules[i]]), spacing)
                lungs[i] = _without_fragments(lungs[i], spacing)

    run_slabs(finish, 2, workers=workers)
    if fill:  # closing may have filled the trachea, or made the lungs overlap
        lungs[0] &= ~main_airways
        lungs[1] &= ~(main_airways | lungs[0])
    out = np.zeros(shape, np.uint8)
    for label, lung in zip(labels, lungs, strict=True):
        bits.write_label(lung, out, label=label, workers=workers)
    if airways:
        bits.write_label(main_airways & ~(lungs[0] | lungs[1]), out, label=AIRWAYS, workers=workers)
    return restore_axes(out, volume.geometry)


def _close(side: BitMask, excluded: BitMask, spacing: Vector) -> BitMask:
    """Close dents and holes of a lung, in its bounding box."""
    inside = bits.bounding_box(side)
    if inside is None:
        return side
    margin = [1 + math.ceil(max(CLOSE_MM, *spacing[1:]) / s) for s in spacing]
    near = side.expand_box(inside, (margin[0], margin[1], 1 + margin[2] // 64))
    side.words[near] = close_dents(side.crop(near), CLOSE_MM, excluded.crop(near), spacing).words
    return side


def _without_fragments(mask: BitMask, spacing: Vector) -> BitMask:
    components = labeling.find_components(mask, corners=True)
    sizes = labeling.sizes(components)
    least = max(1000 * FRAGMENT_ML / float(np.prod(spacing)), FRAGMENT_SHARE * sizes.max(initial=0))
    return selection.select(components, sizes >= least)
