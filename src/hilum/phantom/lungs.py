"""The voxels of the phantom's lungs: tissue, vessels, airways, nodules and disease."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum.geometry import Vector
from hilum.phantom import patient, shapes
from hilum.phantom.disease import Disease, consolidation_distance, fluid_distance, mass_distance
from hilum.phantom.shapes import Box, Floats, Points, Sampler, Tubes, blend, blend_denser, voxel_fraction

ROOM_AIR_HU = -1000.0
BLOOD_HU = 40.0
LUNG_HU = -858.0
CONSOLIDATION_HU, MASS_HU, FLUID_HU = 20.0, 45.0, 8.0

_VESSEL_BATCH = 200_000  # voxels at a time, to limit memory to a few megabytes


@dataclass(frozen=True, eq=False)
class Slab:
    """The voxels of one box of the grid: HU, and the true lungs, airways and bowel gas.

    `lung_fraction` is the fraction of each voxel that is lung, before disease and airways; disease stays inside it.
    """

    box: Box
    hu: Floats
    lung_fraction: Floats
    lungs: NDArray[np.uint8]
    airways: NDArray[np.bool_]
    bowel: NDArray[np.bool_]


def box_in_slab(sampler: Sampler, slab: Slab, low: Vector, high: Vector) -> tuple[Box, Points] | None:
    """Give the part of a slab in a box of the patient's frame: its box in the slab's arrays, and its points."""
    box = shapes.clip_box(sampler.index_bounds(np.array([low]), np.array([high]))[0], slab.box)
    return None if box is None else (shapes.inner_box(box, slab.box), sampler.points(box))


def tubes_in_slab(sampler: Sampler, slab: Slab, tubes: Tubes, margin: float) -> Iterator[tuple[int, Box, Points]]:
    """Yield the tubes in a slab: their numbers, boxes in the slab's arrays, and points; see `box_in_slab`."""
    for tube, bounds in enumerate(sampler.index_bounds(*tubes.bounds(margin))):
        if (box := shapes.clip_box(bounds, slab.box)) is not None:
            yield tube, shapes.inner_box(box, slab.box), sampler.points(box)


def box_around(center: Vector, radii: Vector) -> tuple[Vector, Vector]:
    """Give the lower and upper corner of the box of half-widths `radii` around a center."""
    (x, y, z), (a, b, c) = center, radii
    return (x - a, y - b, z - c), (x + a, y + b, z + c)


def add_lung_tissue(points: Points, anatomy: patient.Anatomy, disease: Disease, hu: Floats, fraction: Floats) -> None:
    """Add lung tissue, which is denser in dependent lung and slightly uneven, and the fissures."""
    x, y, z = points
    uneven = np.sin(x * np.float32(0.31)) * np.sin(y * np.float32(0.27) + 1) * np.sin(z * np.float32(0.23) + 2)
    tissue = np.float32(LUNG_HU) + np.float32(0.38 * disease.back) * y + np.float32(14) * uneven
    if disease.emphysema or disease.haze:
        tissue = np.broadcast_to(tissue, fraction.shape).copy()
    for cx, cy, cz, radius in anatomy.emphysema.tolist() if disease.emphysema else ():
        shapes.fill(tissue, shapes.ellipsoid(points, (cx, cy, cz), (radius,) * 3), 2.0, -965.0)
    for cx, cy, cz, radius, value in anatomy.opacities.tolist() if disease.haze else ():
        blend_denser(tissue, voxel_fraction(shapes.ellipsoid(points, (cx, cy, cz), (radius,) * 3), 5.0), value)
    blend(hu, fraction, tissue)
    # The oblique fissures: sheets of 0.8 mm from high at the back to low at the front.
    sheet = np.abs(np.float32(0.8) * (z - 5) - np.float32(0.6) * (y - 10) + np.float32(0.001) * x * x)
    faint = voxel_fraction(sheet - np.float32(0.4), 1.6) * np.float32(0.16)
    blend(hu, fraction * faint, BLOOD_HU)


def add_vessels(sampler: Sampler, tubes: Tubes, slab: Slab) -> None:
    """Add the vessels inside the lungs; a vessel thinner than a voxel fills only a fraction of it.

    There are thousands of short tubes, so the voxels of many boxes are computed at once.
    """
    first = [s.start for s in slab.box]
    bounds = sampler.index_bounds(*tubes.bounds(0.0)) - np.array(first)[:, None]
    bounds = np.clip(bounds, 0, np.array(slab.hu.shape)[:, None])
    sizes = np.diff(bounds, axis=2)[..., 0]
    counts = sizes.prod(axis=1)
    fraction = np.zeros(slab.hu.size, np.float32)
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
        index = tuple((n[in_lung] + s) for n, s in zip((k, j, i), first, strict=True))
        distance, *offsets = tubes.distance(owner, sampler.scattered(index))
        width = shapes.width_along(tuple(offsets), sampler.widths)
        thin = np.minimum(tubes.radii.sum(axis=1).astype(np.float32)[owner] / width, 1)
        np.maximum.at(fraction, flat, voxel_fraction(distance, width) * thin * thin)
    blend_denser(slab.hu, fraction.reshape(slab.hu.shape), BLOOD_HU)


def add_airways(sampler: Sampler, anatomy: patient.Anatomy, slab: Slab) -> None:
    """Add the airways: walls first, then lumens, so that branches are open. Their ends have no wall."""
    widths, parts = sampler.widths, []
    for tubes, wall, main in ((anatomy.main_airways, 1.5, True), (anatomy.lobar_airways, 0.9, False)):
        for tube, inner, points in tubes_in_slab(sampler, slab, tubes, wall):
            distance, *offsets = tubes.distance(tube, points, end=0.92, extra=wall)
            width = shapes.width_along(tuple(offsets), widths)
            shell = voxel_fraction(distance, width) - voxel_fraction(distance + np.float32(wall), width)
            blend_denser(slab.hu[inner], shell, 30.0)
            lumen, *offsets = tubes.distance(tube, points)
            parts.append((inner, voxel_fraction(lumen, shapes.width_along(tuple(offsets), widths))))
            if main:
                slab.airways[inner] |= np.minimum(distance, lumen) < 0
    for inner, fraction in parts:
        blend(slab.hu[inner], fraction, ROOM_AIR_HU)
    slab.lungs[slab.airways] = 0


def add_nodules_and_disease(sampler: Sampler, anatomy: patient.Anatomy, disease: Disease, slab: Slab) -> None:
    """Add nodules, consolidation, a mass and fluid, all of them inside the lungs."""
    for nodule in anatomy.nodules:
        radius = nodule.radius
        if (part := box_in_slab(sampler, slab, *box_around(nodule.center, (radius + 4,) * 3))) is not None:
            inner, points = part
            offsets = tuple(p - np.float32(c) for p, c in zip(points, nodule.center, strict=True))
            distance = np.sqrt(offsets[0] ** 2 + offsets[1] ** 2 + offsets[2] ** 2) - np.float32(radius)
            fraction = voxel_fraction(distance, shapes.width_along(offsets, sampler.widths))
            blend_denser(slab.hu[inner], fraction, patient.NODULE_HU[nodule.kind])
    across = float(sampler.widths.mean())
    points = sampler.points(slab.box)
    build = anatomy.build
    if disease.consolidation:
        fraction = voxel_fraction(consolidation_distance(points, build), across) * (slab.lung_fraction > 0)
        blend_denser(slab.hu, fraction, CONSOLIDATION_HU)
    if disease.mass:
        blend_denser(slab.hu, voxel_fraction(mass_distance(points), across) * (slab.lung_fraction > 0), MASS_HU)
    if disease.effusion or disease.missing != "none":
        distance = fluid_distance(points, build, disease)
        blend_denser(slab.hu, voxel_fraction(distance, across) * (slab.lung_fraction > 0), FLUID_HU)
        slab.lungs[distance < 0] = 0
