"""Find dense lung on cells: consolidation and ground-glass between the air of a lung and the ribs.

1. Ground-glass: cells brighter than lung and darker than fat, several together; single ones are partial volume at a
   wall.
2. The rib cage: in each plane, bone within some millimetres up and down closes the ring of the ribs, which run
   obliquely (compare Prasad et al., J Digit Imaging 2008;21(4):452-463, who use the curvature of the ribs).
3. On rays from the middle of each lung's air outward, solid cells between the last air and the rib are candidates.
4. Candidates in the middle of the body and fat are removed, and components that are thinner than the muscles of a chest
   wall, or into which a ball of the size of a heart or liver fits.
5. Candidates as dark as water are fluid, and are removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hilum._kernels.anatomy import coarse, rays
from hilum._kernels.bitmask import bits, morphology
from hilum._kernels.components import labeling, selection
from hilum.ops.bounding_box import bounding_box
from hilum.ops.coarse_grid import cell_size, voxels_per_cell
from hilum.scan import LEFT_LUNG, RIGHT_LUNG

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum._kernels.bitmask.mask import Shape
    from hilum.geometry import Vector

BONE_MIN_HU = 150
GROUND_GLASS_HU = (-400, -150)
"""Range of ground-glass: brighter than aerated lung, darker than fat."""

GROUND_GLASS_MM = 4.2
"""Half the smallest thickness of ground-glass; partial volume at a wall is thinner."""

FAT_MAX_HU = -40
"""Cells up to this are fat or partial volume; the fat of the chest wall has -120 to -80."""

BRIGHT_HU = 160
RIBS_MM = 13.0
"""Half the distance between two ribs: dilating bone by this up and down closes the gaps between the ribs."""

WALL_MM = 3.0
"""Thickness of muscle and pleura inside the ribs."""

THICK_MM = 5.0
"""Half the smallest thickness of a candidate; a chest wall is thinner."""

HEART_MM = 24.0
"""Radius of a ball that fits into heart and liver, but not between the lung and the ribs."""

MIDDLE_MM = 35.0
"""Spine, aorta and esophagus lie nearer to the middle than this."""

COARSE_MM = 6.0
"""Cell size for heart and liver."""

CORNER_MM = 14.0
"""Tissue this near to heart and liver is the corner between them and the chest wall."""

ASIDE_MM = 60.0
"""Heart and great vessels lie nearer to the middle than this, the liver does not."""

HIGH = 0.62
"""Above this fraction of the lungs' height there is no heart, and the vessels lie in the middle."""

TALL_MM = 130.0
"""Lungs that are less tall are cropped; then no plane counts as high."""

AROUND_MM = 30.0
"""The ribs lie within this distance of the lungs."""

LIVER_MM2 = 600.0
BACKWARD = 0.5
"""Directions with a larger component to the back point backward (up to 60 degrees to either side)."""

APEX_MM = 25.0
"""Below the apex of the lung muscles lie between it and the ribs."""

LEAST_ML = 3.0
BLOCK_MM = 12.0
FLUID_MAX_HU = 16.0
"""The mean of pleural fluid is lower than this, that of consolidation is not."""


def find_dense(
    cells: NDArray[np.int16], labels: NDArray[np.uint8], body: NDArray[np.bool_], size: Vector, middle: float
) -> NDArray[np.uint8]:
    """Find the cells of dense lung.

    Parameters
    ----------
    cells : ndarray of int16, shape (cz, cy, cx), HU
        Axes to the head, the back and the left.
    labels : ndarray of uint8, shape (cz, cy, cx)
        1 and 2 in the air of the right and the left lung.
    body : ndarray of bool, shape (cz, cy, cx)
        Solid cells of the body.
    size, middle
        As for `hilum.ops.lungs.sides.label_sides`.

    Returns
    -------
    ndarray of uint8, shape (cz, cy, cx)
        1 in dense parts of the right lung, 2 in those of the left lung.
    """
    out = np.zeros(cells.shape, np.uint8)
    box = _rib_cage_box(labels, size)
    if box is not None:
        off = np.asarray((np.arange(cells.shape[2]) - middle)[box[2]] * size[2], np.float64)
        local = np.ascontiguousarray(cells[box]), np.ascontiguousarray(labels[box]), np.ascontiguousarray(body[box])
        out[box] = _find_in_box(*local, size, off)
    return out


def _rib_cage_box(labels: NDArray[np.uint8], size: Vector) -> tuple[slice, slice, slice] | None:
    """The box of the lungs with the ribs around them."""
    inside = bounding_box(labels > 0)
    if inside is None:
        return None
    margin = [round(AROUND_MM / s) for s in size]
    z, y, x = (
        slice(max(0, s.start - m), min(n, s.stop + m)) for s, m, n in zip(inside, margin, labels.shape, strict=True)
    )
    return z, y, x


def _find_in_box(
    cells: NDArray[np.int16], labels: NDArray[np.uint8], body: NDArray[np.bool_], size: Vector, off: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """`find_dense` in the box of the lungs; `off` is the distance of each column to the left of the middle, mm."""
    shape: Shape = cells.shape
    solid, tissue = (cells > FAT_MAX_HU) & (cells < BRIGHT_HU), cells > GROUND_GLASS_HU[0]
    bone = bits.threshold(cells, BONE_MIN_HU, 32767)
    upright = morphology.ellipsoid(RIBS_MM, (size[0], np.inf, np.inf), shape)
    ring = bits.unpack(morphology.dilate(bone, upright))
    organs, organs_and_corners = _organs(tissue & ~ring, labels, np.abs(off), size)
    back = rays.directions()[:, 0] >= BACKWARD
    out = _ground_glass(cells, labels, body, size)
    for label, side in ((RIGHT_LUNG, -1.0), (LEFT_LUNG, 1.0)):
        lung = labels == label
        liver = organs_and_corners & (side * off >= ASIDE_MM)
        centers, (allowed, high) = _centers(lung, size), _directions(lung, side, liver, size)
        candidates = np.zeros(shape, np.bool_)
        for directions, excluded in ((back, organs), (~back, organs_and_corners)):
            between = rays.between_lung_and_ribs(
                labels, label, tissue, ring, centers, allowed & directions, size[1:], gap=WALL_MM
            )
            between[~high] &= ~excluded[~high]
            candidates |= between
        candidates &= solid & (side * off >= MIDDLE_MM)
        out[_dense_components(cells, candidates, size) & (out == 0)] = label
    return out


def _organs(
    tissue: NDArray[np.bool_], labels: NDArray[np.uint8], off: NDArray[np.float64], size: Vector
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Find heart and liver; also return them with the corners between them and the chest wall.

    They extend to the middle of the body or below the lungs; a dense lung of their thickness does neither.
    """
    shape: Shape = tissue.shape
    factors = voxels_per_cell(size, COARSE_MM)
    coarser = cell_size(size, factors)
    full = coarse.cell_means(tissue.astype(np.int16) * 64, factors) == 64
    ball, wide = (morphology.ellipsoid(r, coarser, full.shape) for r in (HEART_MM, HEART_MM + CORNER_MM))
    runs = labeling.find_components(morphology.erode(bits.pack(full), ball), corners=False)
    components = selection.label_image(runs)
    is_organ = np.zeros(runs.number + 1, np.bool_)
    is_organ[np.unique(components[:, :, off[:: factors[2]] < MIDDLE_MM])] = True
    planes = np.flatnonzero(labels.any(axis=(1, 2)))
    if planes.size:
        is_organ[np.unique(components[: planes[0] // factors[0] + 1])] = True
    core = selection.select(runs, is_organ[1:])
    organs, organs_and_corners = (
        bits.unpack(coarse.to_voxels(bits.unpack(morphology.dilate(core, element)).view(np.uint8), 1, factors, shape))
        for element in (ball, wide)
    )
    return organs, organs_and_corners


def _ground_glass(
    cells: NDArray[np.int16], labels: NDArray[np.uint8], body: NDArray[np.bool_], size: Vector
) -> NDArray[np.uint8]:
    """Label groups of ground-glass cells that are connected with a lung."""
    shape: Shape = cells.shape
    ground_glass = (cells > GROUND_GLASS_HU[0]) & (cells <= GROUND_GLASS_HU[1]) & body
    # At least three thick slices: partial volume of the diaphragm in one slice is as gray.
    ball = morphology.ellipsoid(GROUND_GLASS_MM, (min(size[0], GROUND_GLASS_MM), *size[1:]), shape)
    groups = morphology.open_(bits.pack(ground_glass), ball)
    if not groups.any():
        return np.zeros(shape, np.uint8)
    connected = coarse.grow_labels(labels, ground_glass)
    connected[~bits.unpack(groups)] = 0
    return connected


def _centers(lung: NDArray[np.bool_], size: Vector) -> NDArray[np.float64]:
    """The center (y, x) of a lung's air in each plane, averaged over some millimetres; -1 in planes without lung."""
    y, x = np.arange(lung.shape[1]), np.arange(lung.shape[2])
    rows, columns = lung.sum(axis=2), lung.sum(axis=1)
    sums = np.stack([rows.sum(axis=1), rows @ y, columns @ x], axis=1).astype(np.float64)
    count = sums[:, 0].copy()
    planes = max(1, round(6.0 / size[0]))
    padded = np.pad(sums, ((planes, planes), (0, 0)))
    sums = np.sum([padded[k : k + len(sums)] for k in range(2 * planes + 1)], axis=0)
    centers: NDArray[np.float64] = sums[:, 1:] / np.maximum(sums[:, :1], 1)
    centers[count == 0] = -1
    return centers


def _directions(
    lung: NDArray[np.bool_], side: float, liver: NDArray[np.bool_], size: Vector
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The allowed directions of rays in each plane, shape (z, rays), and the planes that are high, shape (z,).

    Rays to the back are always allowed, rays to the side where there is no liver, rays to the front where there is no
    heart.
    """
    planes = np.flatnonzero(lung.any(axis=(1, 2)))
    z = np.arange(len(lung))
    if not planes.size:
        return np.zeros((len(lung), rays.RAYS), np.bool_), z < 0
    low, top = planes[0], planes[-1] + 1
    tall = (top - low) * size[0] >= TALL_MM
    high = (z >= low + HIGH * (top - low)) & tall
    at_liver = np.maximum.accumulate((liver.sum(axis=(1, 2)) * size[1] * size[2] > LIVER_MM2)[::-1])[::-1] & ~high
    directions = rays.directions()
    back, aside = directions[:, 0] >= BACKWARD, (directions[:, 0] >= -BACKWARD) & (directions[:, 1] * side > 0)
    allowed = back | (aside & (~at_liver & tall)[:, None]) | high[:, None]
    allowed &= (z < top - APEX_MM / size[0])[:, None]
    return allowed, high


def _fluid(cells: NDArray[np.int16], candidates: NDArray[np.bool_], size: Vector) -> NDArray[np.bool_]:
    """Find blocks of cells whose candidates have the mean of fluid."""
    shape: Shape = candidates.shape
    factors = voxels_per_cell(size, BLOCK_MM)
    weighted = coarse.cell_means(candidates * cells * np.int16(16), factors)
    weight = coarse.cell_means(candidates * np.int16(16), factors)
    fluid = (weighted < FLUID_MAX_HU * weight).view(np.uint8)
    return bits.unpack(coarse.to_voxels(fluid, 1, factors, shape))


def _dense_components(cells: NDArray[np.int16], candidates: NDArray[np.bool_], size: Vector) -> NDArray[np.bool_]:
    """Keep the components of the candidates that are thick, large enough, and not fluid."""
    shape: Shape = candidates.shape
    packed = bits.pack(candidates & ~_fluid(cells, candidates, size))
    thick = morphology.open_(packed, morphology.ellipsoid(THICK_MM, size, shape))
    runs = labeling.find_components(thick, corners=False)
    if not runs.number:
        return np.zeros(shape, np.bool_)
    hu = coarse.component_means(runs, cells, 0.0)[:, 3]
    milliliters = labeling.sizes(runs) * float(np.prod(size)) / 1000
    return bits.unpack(selection.select(runs, (hu >= FLUID_MAX_HU) & (milliliters >= LEAST_ML)))
