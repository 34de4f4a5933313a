"""The phantom's patient: the measures of a chest, and the shapes that bound its lungs.

All positions are in the patient's frame, in millimetres: the origin in the middle of the chest, x to the patient's
left, y to the back, z to the head. The carina lies near z = 22, the apices at z = 116, the domes of the diaphragm
near z = -55 and the lowest recess above z = -135.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hilum.phantom.shapes import Sampler, ellipse, ellipsoid, smooth_min

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum.geometry import Geometry, Vector
    from hilum.phantom.shapes import Box, Floats, Points

PATIENT_CENTER: Vector = (4.0, -17.0, -148.0)
"""World position (x, y, z), LPS mm, of the middle of every phantom's chest: not the world's origin, as in life."""

FIELD_OF_VIEW_MM = 384.0
"""Diameter of the circle around the patient's center outside of which a scan is padding."""

RIGHT, LEFT = 1, 2
"""Labels of the lungs; the right lung lies at smaller x."""

JUNCTION_MM = 1.5
"""Thickness of the membrane in front of the heart's great vessels, where the lungs all but touch."""

CAGE = (124.0, 86.0)
"""Half-axes of the rib cage's inside in the axial plane, mm."""


@dataclass(frozen=True)
class Build:
    """What differs from patient to patient.

    Parameters
    ----------
    scale : float
        Size of the whole patient.
    heart : float
        Size of the heart.
    right_dome, left_dome : float, mm
        Height of the two domes of the diaphragm.
    junction : float, mm
        How far from the middle the lungs meet in front.
    fat : float, mm
        Thickness of the fat under the skin.
    rib_phase : float, mm
        Height of the ribs.
    """

    scale: float
    heart: float
    right_dome: float
    left_dome: float
    junction: float
    fat: float
    rib_phase: float


def draw_build(random: np.random.Generator) -> Build:
    """Draw a patient.

    Parameters
    ----------
    random : numpy.random.Generator

    Returns
    -------
    Build
    """
    return Build(
        scale=float(random.uniform(0.93, 1.02)),
        heart=float(random.uniform(0.92, 1.06)),
        right_dome=float(random.uniform(-58, -48)),
        left_dome=float(random.uniform(-70, -62)),
        junction=float(random.uniform(-2, 6)),
        fat=float(random.uniform(7, 13)),
        rib_phase=float(random.uniform(0, 27)),
    )


def outside_field(geometry: Geometry, box: Box | None = None) -> NDArray[np.bool_]:
    """Which voxels lie outside the scanner's round field of view.

    Parameters
    ----------
    geometry : Geometry
    box : three slices, (z, y, x), optional
        The part of the grid asked for; all of it without one.

    Returns
    -------
    ndarray of bool, shape (z, y, x)
    """
    box = box or (slice(0, geometry.shape[0]), slice(0, geometry.shape[1]), slice(0, geometry.shape[2]))
    x, y, _ = Sampler(geometry, PATIENT_CENTER, 1.0).points(box)
    outside: NDArray[np.bool_] = x * x + y * y > np.float32((FIELD_OF_VIEW_MM / 2) ** 2)
    return np.broadcast_to(outside, [s.stop - s.start for s in box])


def thorax(points: Points, *, pleura: bool = True) -> Floats:
    """Signed distance of the inside of the rib cage: an elliptic barrel with a narrowing top, open below.

    Parameters
    ----------
    points : three ndarray, x, y and z, mm
    pleura : bool
        Whether the top is that of each lung, two round apices, or that of the ribs, one arch over both.

    Returns
    -------
    ndarray of float32, mm
    """
    x, y, z = points
    barrel = ellipse(x, y, *CAGE)
    u = (np.abs(x) - np.float32(44)) / np.float32(38)
    if not pleura:
        u = np.maximum(u, np.float32(0))
    v = (y - np.float32(13)) / np.float32(60)
    top = np.float32(116) - np.float32(38) * (u * u + v * v)
    slope = np.sqrt(1 + (np.float32(2) * u) ** 2 + (np.float32(76 / 60) * v) ** 2)
    return np.maximum(barrel, (z - top) / slope)


def mediastinum(points: Points, build: Build) -> Floats:
    """Signed distance of all that lies between the lungs: heart, great vessels, spine, gullet and the fat around."""
    x, y, z = points
    turn = np.float32(0.45)
    hx, hy = x - np.float32(20), y + np.float32(38)
    sunk = np.maximum(z, z * np.float32(0.4) - np.float32(30))  # the heart rests broadly on the diaphragm
    turned = (hx * np.cos(turn) - hy * np.sin(turn), hx * np.sin(turn) + hy * np.cos(turn), sunk)
    size = build.heart
    heart = ellipsoid(turned, (0.0, 0.0, -50.0), (61 * size, 48 * size, 54 * size))
    rise = np.clip((z - np.float32(40)) / np.float32(70), 0, 1)
    core = ellipse(x, y - np.float32(18), 25 + 8 * rise, 48.0)
    spine = ellipse(x, y - np.float32(62), 25.0, 26.0)
    aorta = np.maximum(ellipse(x - np.float32(20), y - np.float32(44), 13.0, 13.0), z - np.float32(42))
    knob = ellipsoid(points, (14.0, 16.0, 40.0), (23.0, 36.0, 16.0))
    great = ellipsoid(points, (2.0, -38.0, 112.0), (33.0, 56.0, 56.0))
    root = ellipsoid(points, (2.0, -30.0, 8.0), (27.0, 34.0, 64.0))
    back = np.minimum(np.minimum(spine, aorta), core)
    front = np.minimum(np.minimum(knob, great), root)
    return smooth_min(smooth_min(back, front, 8.0), heart, 12.0)


def diaphragm(points: Points, build: Build) -> tuple[Floats, Floats]:
    """Signed distance from the diaphragm (negative above it), and the slope by which its edges are blurred.

    Parameters
    ----------
    points : three ndarray, x, y and z, mm
    build : Build

    Returns
    -------
    distance : ndarray of float32, mm
    slope : ndarray of float32
        Length of the dome's normal whose z is 1: 1 at the top, more on the flanks.
    """
    x, y, z = points
    domes = []
    for side, height, middle in ((RIGHT, build.right_dome, -54.0), (LEFT, build.left_dome, 60.0)):
        u = (x - np.float32(middle)) / np.float32(66)
        v = (y - np.float32(-8 if side == RIGHT else -4)) / np.float32(80)
        roof = np.float32(height) - np.float32(58) * (u * u + v * v)
        domes.append((roof, np.sqrt(1 + (np.float32(116 / 66) * u) ** 2 + (np.float32(116 / 80) * v) ** 2)))
    is_right = x < np.float32(build.junction)
    roof, slope = (np.where(is_right, right, left) for right, left in zip(*domes, strict=True))
    # The lowest recess ends in a floor: no lung leaves the scan below.
    return np.maximum((roof - z) / slope, np.float32(-134) - z), slope


def lung_sides(
    points: Points, build: Build, between: Floats, widths: Vector = (1.0, 1.0, 1.0)
) -> tuple[Floats, Floats]:
    """Signed distances of the right and the left lung.

    Parameters
    ----------
    points : three ndarray, x, y and z, mm
    build : Build
    between : ndarray of float32, mm
        The signed distance of the `mediastinum` at the same points.
    widths : (x, y, z), mm
        Extents of a voxel; the distances are in voxel widths across the surface they belong to, which blurs edges
        right on grids that are coarser along the body than across it.

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


def lung_depths(points: Points, build: Build) -> tuple[Floats, Floats]:
    """As `lung_sides`, in millimetres."""
    return lung_sides(points, build, mediastinum(points, build))
