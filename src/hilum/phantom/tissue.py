"""Painting the phantom: from the anatomy to Hounsfield units, one slab of a grid at a time.

Tissues are painted from the outside in, each mixed into a voxel by the share of it that the tissue takes up:

1. the table, the body with skin, fat and muscle, bones outside the rib cage;
2. the organs under the diaphragm, with gas in stomach and bowel;
3. mediastinum and lungs (the membrane between the lungs is what both leave of a voxel), fissures, emphysema;
4. vessels, airways with walls, nodules, consolidation, effusion;
5. ribs, sternum and spine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hilum.phantom.anatomy import CAGE, LEFT, RIGHT, diaphragm, lung_sides, mediastinum, thorax
from hilum.phantom.lungs import (
    AIR,
    Slab,
    box_around,
    paint_airways,
    paint_lesions,
    paint_lungs,
    paint_vessels,
    part_of,
)
from hilum.phantom.shapes import (
    Tubes,
    clip_box,
    cover,
    ellipse,
    ellipsoid,
    inner_box,
    paint,
    width_along,
)

if TYPE_CHECKING:
    from hilum.geometry import Vector
    from hilum.phantom.disease import Disease
    from hilum.phantom.growth import Anatomy
    from hilum.phantom.shapes import Box, Floats, Points, Sampler

FAT, SOFT, LIVER, SPONGY, CORTEX = -95.0, 45.0, 62.0, 180.0, 620.0

# Gas under the left dome: center, radii; each in a wall of soft tissue.
_BOWEL: tuple[tuple[Vector, Vector], ...] = (
    ((62.0, -52.0, -128.0), (30.0, 17.0, 12.0)),
    ((94.0, -24.0, -132.0), (13.0, 22.0, 15.0)),
    ((38.0, -62.0, -143.0), (24.0, 11.0, 9.0)),
)
_STOMACH: tuple[Vector, Vector] = ((60.0, -12.0, -109.0), (38.0, 40.0, 31.0))
_FUNDUS_LEVEL = -14.0  # gas rises, to the front of a patient on the back
_COLLARBONES = Tubes(
    np.array([(-20.0, -66.0, 104.0), (20.0, -66.0, 104.0)]),
    np.array([(-150.0, -14.0, 128.0), (150.0, -14.0, 128.0)]),
    np.array([(6.5, 5.5)] * 2),
)


def paint_slab(sampler: Sampler, anatomy: Anatomy, disease: Disease, box: Box, *, table: bool) -> Slab:
    """Paint one box of the grid.

    Parameters
    ----------
    sampler : Sampler
    anatomy : Anatomy
    disease : Disease
    box : three slices, (z, y, x)
    table : bool

    Returns
    -------
    Slab
    """
    shape = tuple(s.stop - s.start for s in box)
    slab = Slab(
        box,
        np.full(shape, AIR, np.float32),
        np.zeros(shape, np.float32),
        np.zeros(shape, np.uint8),
        np.zeros(shape, np.bool_),
        np.zeros(shape, np.bool_),
    )
    if table:
        _paint_table(sampler, disease, slab)
    _paint_body(sampler, anatomy, slab)
    _paint_chest(sampler, anatomy, disease, slab)
    paint_vessels(sampler, anatomy.vessels, slab)
    paint_airways(sampler, anatomy, slab)
    paint_lesions(sampler, anatomy, disease, slab)
    _paint_spine(sampler, slab)
    return slab


def _paint_table(sampler: Sampler, disease: Disease, slab: Slab) -> None:
    """A shell of two dense skins over foam, hollowed towards the back, some millimetres under it."""
    low, high = sorted((disease.back * 85.0, disease.back * 150.0))
    found = part_of(sampler, slab, (-210.0, low, -1e4), (210.0, high, 1e4))
    if found is None:
        return
    inner, (x, y, _) = found
    wy = sampler.widths[1]
    depth = np.float32(disease.back) * y - (np.float32(121) - x * x * np.float32(1 / 1500))
    aside = cover(np.abs(x) - np.float32(186), sampler.widths[0])
    hu = slab.hu[inner]
    paint(hu, (cover(-depth, wy) - cover(np.float32(16) - depth, wy)) * aside, -900.0)
    for skin in (0.0, 14.0):
        top = depth - np.float32(skin)
        paint(hu, (cover(-top, wy) - cover(np.float32(2) - top, wy)) * aside, 250.0)


def _paint_body(sampler: Sampler, anatomy: Anatomy, slab: Slab) -> None:
    """Skin, fat and muscle; collarbones, shoulder blades and upper arms beside the cage."""
    found = part_of(sampler, slab, (-215.0, -116.0, -1e4), (215.0, 118.0, 1e4))
    if found is None:
        return
    inner, (x, y, z) = found
    hu, across = slab.hu[inner], float(sampler.widths[:2].mean())
    rise = np.clip((z - np.float32(40)) / np.float32(75), 0, 1)
    rise = rise * rise * (3 - 2 * rise)
    skin = ellipse(x, y - (2 + 10 * rise), 162 + 48 * rise, 111 - 10 * rise)
    fat = skin + np.float32(anatomy.build.fat)
    paint(hu, cover(skin, across), 20.0)
    paint(hu, cover(skin + np.float32(2), across), FAT)
    paint(hu, cover(fat, across), SOFT)
    _paint_collarbones(sampler, slab)
    for side in (-1.0, 1.0):
        _paint_bone(sampler, slab, (side * 165, 14.0, 118.0), (21.0, 21.0, 24.0))
        blade = part_of(sampler, slab, *box_around((side * 96, 78.0, 62.0), (45.0, 40.0, 62.0)))
        if blade is not None:
            inner, (x, y, z) = blade
            turn = np.float32(0.75 * side)
            u, v = x - np.float32(side * 100), y - np.float32(74)
            flat = (u * np.sin(turn) + v * np.cos(turn), u * np.cos(turn) - v * np.sin(turn), z)
            plate = ellipsoid(flat, (0.0, 0.0, 62.0), (4.5, 30.0, 52.0))
            # The mean radius exaggerates distances across a plate; near its faces this is the right scale.
            share = cover(plate * np.float32(0.16), across) * (thorax((x, y, z)) > 11)
            paint(slab.hu[inner], share, CORTEX * 0.7)


def _paint_collarbones(sampler: Sampler, slab: Slab) -> None:
    bounds = sampler.index_bounds(*_COLLARBONES.bounds(0.0))
    for tube in range(2):
        box = clip_box(bounds[tube], slab.box)
        if box is not None:
            distance, *offsets = _COLLARBONES.distance(tube, sampler.points(box))
            width = width_along(tuple(offsets), sampler.widths)
            hu = slab.hu[inner_box(box, slab.box)]
            paint(hu, cover(distance, width), CORTEX)
            paint(hu, cover(distance + np.float32(2), width), SPONGY)


def _paint_bone(sampler: Sampler, slab: Slab, center: Vector, radii: Vector) -> None:
    """An ellipsoid with a dense rim around spongy bone."""
    found = part_of(sampler, slab, *box_around(center, radii))
    if found is not None:
        inner, points = found
        distance, width = ellipsoid(points, center, radii), float(sampler.widths.mean())
        paint(slab.hu[inner], cover(distance, width), CORTEX)
        paint(slab.hu[inner], cover(distance + np.float32(2.5), width), SPONGY)


def _paint_chest(sampler: Sampler, anatomy: Anatomy, disease: Disease, slab: Slab) -> None:
    """Everything inside the rib cage, and the ribs around it."""
    a, b = CAGE
    found = part_of(sampler, slab, (-a - 14, -b - 14, -1e4), (a + 14, b + 14, 132.0))
    if found is None:
        return
    inner, points = found
    hu, widths = slab.hu[inner], sampler.widths
    across = float(widths[:2].mean())
    cage = thorax(points)
    _paint_ribs(anatomy, points, thorax(points, pleura=False), hu, across)
    wx, wy, wz = widths.tolist()
    between = mediastinum(points, anatomy.build)
    right, left = lung_sides(points, anatomy.build, between, (wx, wy, wz))
    if np.any(points[2] < -45):
        _paint_abdomen(sampler, anatomy, disease, slab, inner, cage)
    rim = cover(np.abs(between + np.float32(3)) - np.float32(2), 4.0) * np.float32(0.55)
    paint(hu, rim * (cage < -6) * (points[2] > -70), FAT)
    share = slab.share[inner]
    share += cover(right, 1.0) + cover(left, 1.0)
    paint_lungs(points, anatomy, disease, hu, share)
    slab.lungs[inner] = np.where(right < 0, np.uint8(RIGHT), np.where(left < 0, np.uint8(LEFT), np.uint8(0)))


def _paint_ribs(anatomy: Anatomy, points: Points, cage: Floats, hu: Floats, across: float) -> None:
    """Twelve pairs of hoops outside the cage, lower in front than behind, cartilage towards the breastbone."""
    shell = np.abs(cage - np.float32(6.5)) < np.float32(5.5 + across)
    x, y, z = (np.broadcast_to(p, shell.shape)[shell] for p in points)
    height = z - np.float32(0.42) * y + np.float32(anatomy.build.rib_phase)
    height -= np.rint(height * np.float32(1 / 27)) * np.float32(27)
    ring = np.sqrt(((cage[shell] - np.float32(6.5)) / 4) ** 2 + (height / np.float32(6.5)) ** 2)
    distance = (ring - 1) * np.float32(5)
    gone = np.abs(x) < np.where(z > np.float32(60), np.float32(26), np.float32(14))
    share = np.where(gone, np.float32(0), cover(distance, across))
    bony = y > np.float32(-62)
    values = hu[shell]
    paint(values, share, np.where(bony, np.float32(CORTEX), np.float32(110)))
    paint(values, np.where(bony & ~gone, cover(distance + np.float32(2.2), across), np.float32(0)), SPONGY)
    hu[shell] = values


def _paint_abdomen(sampler: Sampler, anatomy: Anatomy, disease: Disease, slab: Slab, inner: Box, cage: Floats) -> None:
    """Liver on the right, spleen, stomach and bowel on the left, fat between them."""
    box = tuple(slice(i.start + w.start, i.stop + w.start) for i, w in zip(inner, slab.box, strict=True))
    points = sampler.points((box[0], box[1], box[2]))
    y = points[1]
    across = float(sampler.widths[:2].mean())
    hu = slab.hu[inner]
    cavity = np.maximum(cage + np.float32(4), np.float32(4) - diaphragm(points, anatomy.build)[0])
    paint(hu, cover(cavity, across), FAT)
    liver = np.maximum(cavity - np.float32(1), ellipsoid(points, (-62.0, -12.0, -100.0), (95.0, 92.0, 75.0)))
    paint(hu, cover(liver, across), LIVER)
    spleen = np.maximum(cavity, ellipsoid(points, (92.0, 36.0, -112.0), (28.0, 36.0, 36.0)))
    paint(hu, cover(spleen, across), 50.0)
    stomach = np.maximum(cavity + np.float32(1), ellipsoid(points, *_STOMACH))
    paint(hu, cover(stomach, across), 30.0)
    gas = np.maximum(stomach + np.float32(4), np.float32(disease.back) * y - np.float32(_FUNDUS_LEVEL))
    paint(hu, cover(gas, across), -985.0)
    slab.bowel[inner] |= gas < 0
    for center, radii in _BOWEL:
        loop = np.maximum(cavity, ellipsoid(points, center, radii))
        paint(hu, cover(loop, across), SOFT)
        paint(hu, cover(loop + np.float32(3), across), -970.0)
        slab.bowel[inner] |= loop < -3


def _paint_spine(sampler: Sampler, slab: Slab) -> None:
    """Breastbone; vertebral bodies with discs between them, the canal, arches and processes."""
    wx, wy, _ = sampler.widths.tolist()
    found = part_of(sampler, slab, (-45.0, 35.0, -1e4), (45.0, 112.0, 1e4))
    if found is not None:
        inner, (x, y, z) = found
        hu, across = slab.hu[inner], (wx + wy) / 2
        level = z - np.rint(z * np.float32(1 / 25)) * np.float32(25)
        bone = cover(np.abs(level) - np.float32(10), sampler.widths[2])
        body = ellipse(x, y - np.float32(58), 19.0, 15.0)
        canal = ellipse(x, y - np.float32(83), 9.0, 8.5)
        spinous = np.maximum(np.abs(x) - 3, np.abs(y - np.float32(96)) - 8)
        transverse = np.maximum(np.abs(x) - 34, np.abs(y - np.float32(83) - np.float32(0.12) * np.abs(x)) - 4)
        process = cover(np.abs(level) - np.float32(6), sampler.widths[2])
        paint(hu, cover(np.minimum(spinous, transverse), across) * process, CORTEX * 0.6)
        paint(hu, cover(body, across), 85.0)
        paint(hu, cover(body, across) * bone, CORTEX)
        paint(hu, cover(body + np.float32(1.8), across) * bone, SPONGY)
        paint(hu, cover(canal - np.float32(3.5), across) * bone, CORTEX * 0.8)
        paint(hu, cover(canal, across), 25.0)
    _paint_bone(sampler, slab, (0.0, -95.0, 15.0), (19.0, 6.0, 78.0))
