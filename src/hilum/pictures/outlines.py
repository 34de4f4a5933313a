"""The lines that are drawn on slices: outlines of masks, circles of nodules."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hilum.geometry import Geometry
from hilum.pictures import colors
from hilum.pictures.planes import Plane, picture_position, slice_pixels
from hilum.scan import Nodule, Scan

Line = tuple[str, NDArray[np.float64]]


def outlines(inside: NDArray[np.bool_], spacing: tuple[float, float]) -> list[NDArray[np.float64]]:
    """Trace the outlines of the marked pixels of a slice.

    Parameters
    ----------
    inside : ndarray of bool, shape (rows, columns)
    spacing : tuple of float, (row, column), mm

    Returns
    -------
    list of ndarray, each shape (n, 2)
        Closed lines of x and y in mm, half way between the centers of marked pixels and their neighbors.
    """
    if not inside.any():
        return []
    from contourpy import contour_generator

    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    part = np.pad(inside[top : rows[-1] + 1, left : columns[-1] + 1], 1).astype(np.float32)
    lines = contour_generator(z=part).lines(0.5)
    # Pixel 0 of the padded part is the one before `left`; a pixel's center is half a pixel from its edge.
    corner, scale = np.array([left - 0.5, top - 0.5]), np.array([spacing[1], spacing[0]])
    return [(np.asarray(line) + corner) * scale for line in lines]


def label_outlines(labels: NDArray[np.uint8], spacing: tuple[float, float]) -> list[Line]:
    """Trace the outlines of lungs and airways on a slice, in their colors; otherwise as `outlines`."""
    return [(color, line) for label, color in colors.LABELS.items() for line in outlines(labels == label, spacing)]


def nodule_circle(geometry: Geometry, plane: Plane, index: int, nodule: Nodule) -> NDArray[np.float64] | None:
    """Give the circle in which a slice cuts a nodule's sphere, shape (73, 2), mm; None if it does not."""
    x, y, level = picture_position(geometry, plane, nodule.center)
    squared = (nodule.diameter_mm / 2) ** 2 - ((level - index) * geometry.spacing[plane.axis]) ** 2
    if squared <= 0:
        return None
    angle = np.linspace(0, 2 * np.pi, 73)
    return np.stack([x + np.sqrt(squared) * np.cos(angle), y + np.sqrt(squared) * np.sin(angle)], axis=-1)


def slice_outlines(scan: Scan, plane: Plane, index: int) -> list[Line]:
    """Give the lines that are drawn on a slice of a reoriented scan: outlines of the lungs, circles of the nodules."""
    lines: list[Line] = []
    if scan.lungs is not None:
        spacing = (scan.ct.spacing[plane.rows], scan.ct.spacing[plane.columns])
        lines += label_outlines(slice_pixels(scan.lungs.array, plane, index), spacing)
    circles = [nodule_circle(scan.ct.geometry, plane, index, nodule) for nodule in scan.nodules]
    return lines + [(colors.NODULE, circle) for circle in circles if circle is not None]
