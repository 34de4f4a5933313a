"""The shapes that bound the phantom's lungs: rib cage, mediastinum, diaphragm.

All positions are in the patient's frame, in millimetres: the origin is in the middle of the chest, x runs to the
patient's left, y to the back, z to the head. The carina is near z = 22, the apices at z = 116, the diaphragm domes near
z = -55, and the costophrenic recesses end above z = -135.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum.geometry import Geometry, Vector
from hilum.phantom.shapes import Box, Floats, Points, Sampler, ellipse, ellipsoid, smooth_min
from hilum.scan import LEFT_LUNG, RIGHT_LUNG

PATIENT_CENTER: Vector = (4.0, -17.0, -148.0)  # (x, y, z), LPS mm: the middle of every phantom's chest

FIELD_OF_VIEW_MM = 384.0  # diameter of the circle around the patient's center; voxels outside it are padding

JUNCTION_MM = 1.5  # thickness of the anterior junction line, where the lungs almost touch in front of the great vessels

RIB_CAGE_MM = (124.0, 86.0)  # half-axes of the inside of the rib cage in the axial plane, mm


@dataclass(frozen=True)
class BodyBuild:
    """The measures that differ between patients.

    Parameters
    ----------
    scale : float
        Size of the whole patient.
    heart : float
        Size of the heart.
    right_dome, left_dome : float, mm
        Height of the two diaphragm domes.
    junction : float, mm
        x of the anterior junction line.
    fat : float, mm
        Thickness of the subcutaneous fat.
    rib_phase : float, mm
        Offset of the ribs along z.
    """

    scale: float
    heart: float
    right_dome: float
    left_dome: float
    junction: float
    fat: float
    rib_phase: float


def draw_body_build(random: np.random.Generator) -> BodyBuild:
    """Draw the measures of a patient."""
    ranges = (0.93, 1.02), (0.92, 1.06), (-58, -48), (-70, -62), (-2, 6), (7, 13), (0, 27)  # in the order of the fields
    return BodyBuild(*(float(random.uniform(low, high)) for low, high in ranges))


def outside_field(geometry: Geometry, box: Box | None = None) -> NDArray[np.bool_]:
    """Mark the voxels outside the scanner's round field of view.

    Parameters
    ----------
    geometry : Geometry
        The grid of the scan.
    box : three slices, (z, y, x), optional
        A part of the grid; by default the whole grid.

    Returns
    -------
    ndarray of bool, shape (z, y, x)
    """
    box = box or (slice(0, geometry.shape[0]), slice(0, geometry.shape[1]), slice(0, geometry.shape[2]))
    x, y, _ = Sampler(geometry, PATIENT_CENTER, 1.0).points(box)
    outside: NDArray[np.bool_] = x * x + y * y > np.float32((FIELD_OF_VIEW_MM / 2) ** 2)
    return np.broadcast_to(outside, [s.stop - s.start for s in box])


def thorax(points: Points, *, pleura: bool = True) -> Floats:
    """Signed distance to the inside of the rib cage: an elliptic barrel with a narrowing top, open at the bottom.

    Parameters
    ----------
    points : three ndarray, x, y and z, mm
        Positions from the center of the patient.
    pleura : bool
        Give the top two round apices, as the lungs have; otherwise one arch over both, as the ribs have.

    Returns
    -------
    ndarray of float32, mm
    """
    x, y, z = points
    barrel = ellipse(x, y, *RIB_CAGE_MM)
    u = (np.abs(x) - np.float32(44)) / np.float32(38)
    if not pleura:
        u = np.maximum(u, np.float32(0))
    v = (y - np.float32(13)) / np.float32(60)
    top = np.float32(116) - np.float32(38) * (u * u + v * v)
    slope = np.sqrt(1 + (np.float32(2) * u) ** 2 + (np.float32(76 / 60) * v) ** 2)
    return np.maximum(barrel, (z - top) / slope)


def mediastinum(points: Points, build: BodyBuild) -> Floats:
    """Signed distance to the mediastinum and spine: heart, great vessels, esophagus, vertebrae, and the fat around."""
    x, y, z = points
    angle = np.float32(0.45)
    hx, hy = x - np.float32(20), y + np.float32(38)
    sunk = np.maximum(z, z * np.float32(0.4) - np.float32(30))  # the base of the heart is flat on the diaphragm
    rotated = (hx * np.cos(angle) - hy * np.sin(angle), hx * np.sin(angle) + hy * np.cos(angle), sunk)
    size = build.heart
    heart = ellipsoid(rotated, (0.0, 0.0, -50.0), (61 * size, 48 * size, 54 * size))
    rise = np.clip((z - np.float32(40)) / np.float32(70), 0, 1)
    core = ellipse(x, y - np.float32(18), 25 + 8 * rise, 48.0)
    spine = ellipse(x, y - np.float32(62), 25.0, 26.0)
    aorta = np.maximum(ellipse(x - np.float32(20), y - np.float32(44), 13.0, 13.0), z - np.float32(42))
    arch = ellipsoid(points, (14.0, 16.0, 40.0), (23.0, 36.0, 16.0))
    great = ellipsoid(points, (2.0, -38.0, 112.0), (33.0, 56.0, 56.0))
    root = ellipsoid(points, (2.0, -30.0, 8.0), (27.0, 34.0, 64.0))
    back = np.minimum(np.minimum(spine, aorta), core)
    front = np.minimum(np.minimum(arch, great), root)
    return smooth_min(smooth_min(back, front, 8.0), heart, 12.0)


def diaphragm(points: Points, build: BodyBuild) -> tuple[Floats, Floats]:
    """Signed distance to the diaphragm, negative above it, and its slope, which decides how its edge is blurred.

    Parameters
    ----------
    points : three ndarray, x, y and z, mm
        Positions from the center of the patient.
    build : Build
        The patient's build.

    Returns
    -------
    distance : ndarray of float32, mm
    slope : ndarray of float32
        Length of the normal whose z component is 1: 1 at the top of a dome, more on its flanks.
    """
    x, y, z = points
    domes = []
    for side, height, middle in ((RIGHT_LUNG, build.right_dome, -54.0), (LEFT_LUNG, build.left_dome, 60.0)):
        u = (x - np.float32(middle)) / np.float32(66)
        v = (y - np.float32(-8 if side == RIGHT_LUNG else -4)) / np.float32(80)
        roof = np.float32(height) - np.float32(58) * (u * u + v * v)
        domes.append((roof, np.sqrt(1 + (np.float32(116 / 66) * u) ** 2 + (np.float32(116 / 80) * v) ** 2)))
    is_right = x < np.float32(build.junction)
    roof, slope = (np.where(is_right, right, left) for right, left in zip(*domes, strict=True))
    # The recesses end at a floor, so that no lung leaves the scan at the bottom.
    return np.maximum((roof - z) / slope, np.float32(-134) - z), slope


def lung_sides(
    points: Points, build: BodyBuild, between: Floats, widths: Vector = (1.0, 1.0, 1.0)
) -> tuple[Floats, Floats]:
    """Signed distances to the right and the left lung.

    Parameters
    ----------
    points : three ndarray, x, y and z, mm
        Positions from the center of the patient.
    build : Build
        The patient's build.
    between : ndarray of float32, mm
        The signed distance to the `mediastinum` at the same points.
    widths : (x, y, z), mm
        Extents of a voxel. The distances are in voxel widths across their surface, so that edges are also blurred
        correctly on grids with thick slices.

    Returns
    -------
    right, left : ndarray of float32
    """
    x, _, z = points
    across = np.float32((widths[0] + widths[1]) / 2)
    dome, slope = diaphragm(points, build)
    flank = np.sqrt(np.maximum(slope * slope - 1, 0))
    lower = dome * slope / (np.float32(widths[2]) + across * flank)
    both = np.maximum(np.maximum(thorax(points), -between) / across, lower)
    plane = x - np.float32(build.junction) - np.float32(0.03) * z
    half, middle = np.float32(JUNCTION_MM / 2), np.float32(widths[0])
    return np.maximum(both, (plane + half) / middle), np.maximum(both, (half - plane) / middle)


def lung_depths(points: Points, build: BodyBuild) -> tuple[Floats, Floats]:
    """Signed distances to the right and the left lung, in millimetres."""
    return lung_sides(points, build, mediastinum(points, build))
