"""Painting the inside of the phantom's lungs: tissue, vessels, airways, nodules and disease."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hilum.phantom.disease import fluid, tumor, wedge
from hilum.phantom.growth import NODULE_HU
from hilum.phantom.shapes import clip_box, cover, ellipsoid, inner_box, paint, paint_denser, width_along

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum.geometry import Vector
    from hilum.phantom.disease import Disease
    from hilum.phantom.growth import Anatomy
    from hilum.phantom.shapes import Box, Floats, Points, Sampler, Tubes

AIR = -1000.0
BLOOD = 40.0
LUNG = -858.0
CONSOLIDATED, TUMOR, WATER = 20.0, 45.0, 8.0

_VESSEL_BATCH = 200_000  # voxels worked off together: a few megabytes of scratch


@dataclass(frozen=True, eq=False)
class Slab:
    """What is painted in one box of the grid: HU, and the truth of lungs, airways and gas in the bowel.

    `share` is the share of each voxel that was lung when lungs were painted: disease fills voxels on the edge too.
    """

    box: Box
    hu: Floats
    share: Floats
    lungs: NDArray[np.uint8]
    airways: NDArray[np.bool_]
    bowel: NDArray[np.bool_]


def part_of(sampler: Sampler, slab: Slab, low: Vector, high: Vector) -> tuple[Box, Points] | None:
    """The part of a slab that holds a box of the patient's frame, as a box of the slab's arrays, and its points."""
    bounds = sampler.index_bounds(np.array([low]), np.array([high]))[0]
    box = clip_box(bounds, slab.box)
    return None if box is None else (inner_box(box, slab.box), sampler.points(box))


def box_around(center: Vector, radii: Vector) -> tuple[Vector, Vector]:
    """Lower and upper corner of the box that reaches `radii` around a center."""
    (x, y, z), (a, b, c) = center, radii
    return (x - a, y - b, z - c), (x + a, y + b, z + c)


def paint_lungs(points: Points, anatomy: Anatomy, disease: Disease, hu: Floats, share: Floats) -> None:
    """Lung tissue: denser towards the back where the blood lies, a little uneven, with fissures."""
    x, y, z = points
    uneven = np.sin(x * np.float32(0.31)) * np.sin(y * np.float32(0.27) + 1) * np.sin(z * np.float32(0.23) + 2)
    tissue = np.float32(LUNG) + np.float32(0.38 * disease.back) * y + np.float32(14) * uneven
    if disease.emphysema:
        tissue = np.broadcast_to(tissue, share.shape).copy()
        for *center, radius in anatomy.emphysema.tolist():
            hole = cover(ellipsoid(points, (center[0], center[1], center[2]), (radius,) * 3), 2.0)
            paint(tissue, hole, -965.0)
    if disease.haze:
        tissue = np.broadcast_to(tissue, share.shape).copy()
        for *center, radius, value in anatomy.haze.tolist():
            patch = cover(ellipsoid(points, (center[0], center[1], center[2]), (radius,) * 3), 5.0)
            paint_denser(tissue, patch, value)
    paint(hu, share, tissue)
    # The oblique fissures: 0.8 mm sheets from high behind to low in front.
    sheet = np.abs(np.float32(0.8) * (z - 5) - np.float32(0.6) * (y - 10) + np.float32(0.001) * x * x)
    faint = cover(sheet - np.float32(0.4), 1.6) * np.float32(0.16)
    paint(hu, share * faint, BLOOD)


def paint_vessels(sampler: Sampler, tubes: Tubes, slab: Slab) -> None:
    """Vessels inside the lungs; a thin one only takes its share of a thick voxel.

    There are thousands of short pieces of tube: their boxes are laid end to end and worked off together.
    """
    bounds = sampler.index_bounds(*tubes.bounds(0.0)) - np.array([s.start for s in slab.box])[:, None]
    bounds = np.clip(bounds, 0, np.array(slab.hu.shape)[:, None])
    sizes = np.diff(bounds, axis=2)[..., 0]
    counts = sizes.prod(axis=1)
    share = np.zeros(slab.hu.size, np.float32)
    _, ny, nx = slab.hu.shape
    batches = np.cumsum(counts) // _VESSEL_BATCH
    for batch in range(int(batches[-1]) + 1 if len(batches) else 0):
        tube = np.flatnonzero((batches == batch) & (counts > 0))
        owner = np.repeat(tube, counts[tube])
        rank = np.arange(len(owner)) - np.repeat(np.cumsum(counts[tube]) - counts[tube], counts[tube])
        rank, i = np.divmod(rank, sizes[owner, 2])
        k, j = np.divmod(rank, sizes[owner, 1])
        k, j, i = (n + bounds[owner, axis, 0] for axis, n in enumerate((k, j, i)))
        flat = (k * ny + j) * nx + i
        in_lung = np.flatnonzero(slab.lungs.ravel()[flat])
        owner, flat = owner[in_lung], flat[in_lung]
        first = [s.start for s in slab.box]
        index = tuple((n[in_lung] + s) for n, s in zip((k, j, i), first, strict=True))
        distance, *offsets = tubes.distance(owner, sampler.scattered(index))
        width = width_along(tuple(offsets), sampler.widths)
        thin = np.minimum(tubes.radii.sum(axis=1).astype(np.float32)[owner] / width, 1)
        np.maximum.at(share, flat, cover(distance, width) * thin * thin)
    paint_denser(slab.hu, share.reshape(slab.hu.shape), BLOOD)


def paint_airways(sampler: Sampler, anatomy: Anatomy, slab: Slab) -> None:
    """Walls first, then every lumen, so that forks are open; the last stretch has no wall and opens into the lung."""
    widths, parts = sampler.widths, []
    for tubes, wall, main in ((anatomy.main_airways, 1.5, True), (anatomy.lobar_airways, 0.9, False)):
        bounds = sampler.index_bounds(*tubes.bounds(wall))
        for tube in range(len(tubes.radii)):
            box = clip_box(bounds[tube], slab.box)
            if box is None:
                continue
            inner, points = inner_box(box, slab.box), sampler.points(box)
            distance, *offsets = tubes.distance(tube, points, end=0.92, extra=wall)
            width = width_along(tuple(offsets), widths)
            paint_denser(slab.hu[inner], cover(distance, width) - cover(distance + np.float32(wall), width), 30.0)
            lumen, *offsets = tubes.distance(tube, points)
            parts.append((inner, cover(lumen, width_along(tuple(offsets), widths))))
            if main:
                slab.airways[inner] |= np.minimum(distance, lumen) < 0
    for inner, share in parts:
        paint(slab.hu[inner], share, AIR)
    slab.lungs[slab.airways] = 0


def paint_lesions(sampler: Sampler, anatomy: Anatomy, disease: Disease, slab: Slab) -> None:
    """Nodules, a wedge of consolidated lung, a mass, fluid; all only where lung was."""
    for lesion in anatomy.lesions:
        radius = lesion.radius
        found = part_of(sampler, slab, *box_around(lesion.center, (radius + 4,) * 3))
        if found is not None:
            inner, points = found
            offsets = tuple(p - np.float32(c) for p, c in zip(points, lesion.center, strict=True))
            distance = np.sqrt(offsets[0] ** 2 + offsets[1] ** 2 + offsets[2] ** 2) - np.float32(radius)
            share = cover(distance, width_along(offsets, sampler.widths))
            paint_denser(slab.hu[inner], share, NODULE_HU[lesion.kind])
    across = float(sampler.widths.mean())
    points = sampler.points(slab.box)
    build = anatomy.build
    if disease.consolidation:
        share = cover(wedge(points, build), across) * (slab.share > 0)
        paint_denser(slab.hu, share, CONSOLIDATED)
    if disease.mass:
        paint_denser(slab.hu, cover(tumor(points), across) * (slab.share > 0), TUMOR)
    if disease.effusion or disease.missing != "none":
        distance = fluid(points, build, disease)
        paint_denser(slab.hu, cover(distance, across) * (slab.share > 0), WATER)
        slab.lungs[distance < 0] = 0
