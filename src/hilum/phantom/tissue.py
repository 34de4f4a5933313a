"""The voxels of the phantom: from the anatomy to Hounsfield units, one slab of a grid at a time.

Tissues are added from the outside in. Each is blended into a voxel by the fraction that it fills:

1. table; skin, fat and muscle; bones outside the rib cage;
2. abdominal organs, with gas in stomach and bowel;
3. mediastinum and lungs (the junction line is the part of a voxel that neither lung fills), fissures, emphysema;
4. vessels, airways with walls, nodules, consolidation, effusion;
5. ribs, sternum and spine.
"""

import numpy as np

from hilum.geometry import Vector
from hilum.phantom import lungs, shapes
from hilum.phantom.anatomy import RIB_CAGE_MM, diaphragm, lung_sides, mediastinum, thorax
from hilum.phantom.disease import Disease
from hilum.phantom.lungs import ROOM_AIR_HU, Slab
from hilum.phantom.patient import Anatomy
from hilum.phantom.shapes import Box, Floats, Points, Sampler, blend, ellipse, ellipsoid, fill, voxel_fraction
from hilum.scan import LEFT_LUNG, RIGHT_LUNG

FAT_HU, SOFT_TISSUE_HU, LIVER_HU, CANCELLOUS_HU, CORTICAL_HU = -95.0, 45.0, 62.0, 180.0, 620.0

# Bowel gas under the left diaphragm dome: center, radii. Each has a wall of soft tissue.
_BOWEL: tuple[tuple[Vector, Vector], ...] = (
    ((62.0, -52.0, -128.0), (30.0, 17.0, 12.0)),
    ((94.0, -24.0, -132.0), (13.0, 22.0, 15.0)),
    ((38.0, -62.0, -143.0), (24.0, 11.0, 9.0)),
)
_STOMACH: tuple[Vector, Vector] = ((60.0, -12.0, -109.0), (38.0, 40.0, 31.0))
_CLAVICLES = shapes.Tubes(
    np.array([(-20.0, -66.0, 104.0), (20.0, -66.0, 104.0)]),
    np.array([(-150.0, -14.0, 128.0), (150.0, -14.0, 128.0)]),
    np.array([(6.5, 5.5)] * 2),
)


def render_slab(sampler: Sampler, anatomy: Anatomy, disease: Disease, box: Box, *, table: bool) -> Slab:
    """Compute the voxels of one box of the grid."""
    shape = tuple(s.stop - s.start for s in box)
    hu, fraction = np.full(shape, ROOM_AIR_HU, np.float32), np.zeros(shape, np.float32)
    slab = Slab(box, hu, fraction, np.zeros(shape, np.uint8), np.zeros(shape, np.bool_), np.zeros(shape, np.bool_))
    if table:
        _add_table(sampler, disease, slab)
    _add_body(sampler, anatomy, slab)
    _add_chest(sampler, anatomy, disease, slab)
    lungs.add_vessels(sampler, anatomy.vessels, slab)
    lungs.add_airways(sampler, anatomy, slab)
    lungs.add_nodules_and_disease(sampler, anatomy, disease, slab)
    _add_spine(sampler, slab)
    return slab


def _add_table(sampler: Sampler, disease: Disease, slab: Slab) -> None:
    """Add the table: foam between two dense skins, concave, some millimetres below the back."""
    low, high = sorted((disease.back * 85.0, disease.back * 150.0))
    if (part := lungs.box_in_slab(sampler, slab, (-210.0, low, -1e4), (210.0, high, 1e4))) is None:
        return
    inner, (x, y, _) = part
    wy = sampler.widths[1]
    depth = np.float32(disease.back) * y - (np.float32(121) - x * x * np.float32(1 / 1500))
    in_table = voxel_fraction(np.abs(x) - np.float32(186), sampler.widths[0])
    hu = slab.hu[inner]
    blend(hu, (voxel_fraction(-depth, wy) - voxel_fraction(np.float32(16) - depth, wy)) * in_table, -900.0)
    for skin in (0.0, 14.0):
        top = depth - np.float32(skin)
        blend(hu, (voxel_fraction(-top, wy) - voxel_fraction(np.float32(2) - top, wy)) * in_table, 250.0)


def _add_body(sampler: Sampler, anatomy: Anatomy, slab: Slab) -> None:
    """Add skin, fat and muscle; clavicles, scapulae and humeral heads."""
    if (part := lungs.box_in_slab(sampler, slab, (-215.0, -116.0, -1e4), (215.0, 118.0, 1e4))) is None:
        return
    inner, (x, y, z) = part
    hu, across = slab.hu[inner], float(sampler.widths[:2].mean())
    rise = np.clip((z - np.float32(40)) / np.float32(75), 0, 1)
    rise = rise * rise * (3 - 2 * rise)
    skin = ellipse(x, y - (2 + 10 * rise), 162 + 48 * rise, 111 - 10 * rise)
    fat = skin + np.float32(anatomy.build.fat)
    fill(hu, skin, across, 20.0)
    fill(hu, skin + np.float32(2), across, FAT_HU)
    fill(hu, fat, across, SOFT_TISSUE_HU)
    for tube, inner, points in lungs.tubes_in_slab(sampler, slab, _CLAVICLES, 0.0):
        distance, *offsets = _CLAVICLES.distance(tube, points)
        width = shapes.width_along(tuple(offsets), sampler.widths)
        fill(slab.hu[inner], distance, width, CORTICAL_HU)
        fill(slab.hu[inner], distance + np.float32(2), width, CANCELLOUS_HU)
    for side in (-1.0, 1.0):
        _add_bone(sampler, slab, (side * 165, 14.0, 118.0), (21.0, 21.0, 24.0))
        scapula = lungs.box_in_slab(sampler, slab, *lungs.box_around((side * 96, 78.0, 62.0), (45.0, 40.0, 62.0)))
        if scapula is not None:
            inner, (x, y, z) = scapula
            angle = np.float32(0.75 * side)
            u, v = x - np.float32(side * 100), y - np.float32(74)
            flat = (u * np.sin(angle) + v * np.cos(angle), u * np.cos(angle) - v * np.sin(angle), z)
            plate = ellipsoid(flat, (0.0, 0.0, 62.0), (4.5, 30.0, 52.0))
            # `ellipsoid` scales by the mean radius; 0.16 corrects distances near the faces of a thin plate.
            fraction = voxel_fraction(plate * np.float32(0.16), across) * (thorax((x, y, z)) > 11)
            blend(slab.hu[inner], fraction, CORTICAL_HU * 0.7)


def _add_bone(sampler: Sampler, slab: Slab, center: Vector, radii: Vector) -> None:
    """Add an ellipsoid of cancellous bone with a cortical rim."""
    if (part := lungs.box_in_slab(sampler, slab, *lungs.box_around(center, radii))) is not None:
        inner, points = part
        distance, width = ellipsoid(points, center, radii), float(sampler.widths.mean())
        fill(slab.hu[inner], distance, width, CORTICAL_HU)
        fill(slab.hu[inner], distance + np.float32(2.5), width, CANCELLOUS_HU)


def _add_chest(sampler: Sampler, anatomy: Anatomy, disease: Disease, slab: Slab) -> None:
    """Add the ribs and everything inside the rib cage."""
    a, b = RIB_CAGE_MM
    if (part := lungs.box_in_slab(sampler, slab, (-a - 14, -b - 14, -1e4), (a + 14, b + 14, 132.0))) is None:
        return
    inner, points = part
    hu, widths = slab.hu[inner], sampler.widths
    across = float(widths[:2].mean())
    cage = thorax(points)
    _add_ribs(anatomy, points, thorax(points, pleura=False), hu, across)
    wx, wy, wz = widths.tolist()
    between = mediastinum(points, anatomy.build)
    right, left = lung_sides(points, anatomy.build, between, (wx, wy, wz))
    if np.any(points[2] < -45):
        _add_abdomen(sampler, anatomy, disease, slab, inner, cage)
    rim = voxel_fraction(np.abs(between + np.float32(3)) - np.float32(2), 4.0) * np.float32(0.55)
    blend(hu, rim * (cage < -6) * (points[2] > -70), FAT_HU)
    fraction = slab.lung_fraction[inner]
    fraction += voxel_fraction(right, 1.0) + voxel_fraction(left, 1.0)
    lungs.add_lung_tissue(points, anatomy, disease, hu, fraction)
    slab.lungs[inner] = np.where(right < 0, np.uint8(RIGHT_LUNG), np.where(left < 0, np.uint8(LEFT_LUNG), np.uint8(0)))


def _add_ribs(anatomy: Anatomy, points: Points, cage: Floats, hu: Floats, across: float) -> None:
    """Add the ribs, which descend to the front, and the costal cartilage near the sternum."""
    shell = np.abs(cage - np.float32(6.5)) < np.float32(5.5 + across)
    x, y, z = (np.broadcast_to(p, shell.shape)[shell] for p in points)
    height = z - np.float32(0.42) * y + np.float32(anatomy.build.rib_phase)
    height -= np.rint(height * np.float32(1 / 27)) * np.float32(27)
    ring = np.sqrt(((cage[shell] - np.float32(6.5)) / 4) ** 2 + (height / np.float32(6.5)) ** 2)
    distance = (ring - 1) * np.float32(5)
    gap = np.abs(x) < np.where(z > np.float32(60), np.float32(26), np.float32(14))
    fraction = np.where(gap, np.float32(0), voxel_fraction(distance, across))
    bony = y > np.float32(-62)
    values = hu[shell]
    blend(values, fraction, np.where(bony, np.float32(CORTICAL_HU), np.float32(110)))
    marrow = np.where(bony & ~gap, voxel_fraction(distance + np.float32(2.2), across), np.float32(0))
    blend(values, marrow, CANCELLOUS_HU)
    hu[shell] = values


def _add_abdomen(sampler: Sampler, anatomy: Anatomy, disease: Disease, slab: Slab, inner: Box, cage: Floats) -> None:
    """Add the liver on the right, spleen, stomach and bowel on the left, and fat between them."""
    box = tuple(slice(i.start + w.start, i.stop + w.start) for i, w in zip(inner, slab.box, strict=True))
    points = sampler.points((box[0], box[1], box[2]))
    y = points[1]
    across = float(sampler.widths[:2].mean())
    hu = slab.hu[inner]
    cavity = np.maximum(cage + np.float32(4), np.float32(4) - diaphragm(points, anatomy.build)[0])
    fill(hu, cavity, across, FAT_HU)
    liver = np.maximum(cavity - np.float32(1), ellipsoid(points, (-62.0, -12.0, -100.0), (95.0, 92.0, 75.0)))
    fill(hu, liver, across, LIVER_HU)
    fill(hu, np.maximum(cavity, ellipsoid(points, (92.0, 36.0, -112.0), (28.0, 36.0, 36.0))), across, 50.0)
    stomach = np.maximum(cavity + np.float32(1), ellipsoid(points, *_STOMACH))
    fill(hu, stomach, across, 30.0)
    # Gas rises: to the front in a supine patient.
    gas = np.maximum(stomach + np.float32(4), np.float32(disease.back) * y + np.float32(14))
    fill(hu, gas, across, -985.0)
    slab.bowel[inner] |= gas < 0
    for center, radii in _BOWEL:
        loop = np.maximum(cavity, ellipsoid(points, center, radii))
        fill(hu, loop, across, SOFT_TISSUE_HU)
        fill(hu, loop + np.float32(3), across, -970.0)
        slab.bowel[inner] |= loop < -3


def _add_spine(sampler: Sampler, slab: Slab) -> None:
    """Add the sternum, and the spine: vertebral bodies, discs, spinal canal, arches and processes."""
    wx, wy, _ = sampler.widths.tolist()
    if (part := lungs.box_in_slab(sampler, slab, (-45.0, 35.0, -1e4), (45.0, 112.0, 1e4))) is not None:
        inner, (x, y, z) = part
        hu, across = slab.hu[inner], (wx + wy) / 2
        level = z - np.rint(z * np.float32(1 / 25)) * np.float32(25)
        bone = voxel_fraction(np.abs(level) - np.float32(10), sampler.widths[2])
        body = ellipse(x, y - np.float32(58), 19.0, 15.0)
        canal = ellipse(x, y - np.float32(83), 9.0, 8.5)
        spinous = np.maximum(np.abs(x) - 3, np.abs(y - np.float32(96)) - 8)
        transverse = np.maximum(np.abs(x) - 34, np.abs(y - np.float32(83) - np.float32(0.12) * np.abs(x)) - 4)
        process = voxel_fraction(np.abs(level) - np.float32(6), sampler.widths[2])
        blend(hu, voxel_fraction(np.minimum(spinous, transverse), across) * process, CORTICAL_HU * 0.6)
        fill(hu, body, across, 85.0)
        blend(hu, voxel_fraction(body, across) * bone, CORTICAL_HU)
        blend(hu, voxel_fraction(body + np.float32(1.8), across) * bone, CANCELLOUS_HU)
        blend(hu, voxel_fraction(canal - np.float32(3.5), across) * bone, CORTICAL_HU * 0.8)
        fill(hu, canal, across, 25.0)
    _add_bone(sampler, slab, (0.0, -95.0, 15.0), (19.0, 6.0, 78.0))
