"""What all pictures of slices share: how a slice lies on paper, its outlines, its letters, its scale.

Every slice is drawn in millimetres: a picture's x runs from its left edge, y from its top edge down, so that voxels
keep their true shape and a bar of 20 mm is 20 long. It is the radiologist's view: the patient's right on the picture's
left, the front on top of axial slices, the head on top of the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hilum.errors import InputError, UnsupportedError, one_line
from hilum.ops.finite import check_finite
from hilum.ops.intensity import WINDOW_PRESETS
from hilum.ops.reorient import reorient

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum.geometry import Geometry
    from hilum.scan import Nodule, Scan
    from hilum.volume import Volume

RIGHT, LEFT, AIRWAYS, NODULE = "#0072b2", "#e69f00", "#009e73", "#d55e00"
"""Colors told apart by color-blind eyes (Okabe and Ito 2008): right lung, left lung, airways, nodule."""

SIDES = {1: RIGHT, 2: LEFT, 3: AIRWAYS}
"""Colors of the labels of a lung mask."""

BAND = "#56b4e9"


class Plane(NamedTuple):
    """How slices of one direction lie on paper.

    Parameters
    ----------
    axis, rows, columns : int
        The array axis that is cut, and those that run down and across the picture.
    letters : str
        What lies left, right, on top and at the bottom: Right, Left, Anterior, Posterior, Head, Feet.
    """

    axis: int
    rows: int
    columns: int
    letters: str


PLANES: dict[str, Plane] = {
    "axial": Plane(0, 1, 2, "RLAP"),
    "coronal": Plane(1, 0, 2, "RLHF"),
    "sagittal": Plane(2, 0, 1, "APHF"),
}
"""Every plane by name, for volumes whose axes run to the head, the back and the left."""


@dataclass(frozen=True)
class Gray:
    """The range of Hounsfield units from black to white."""

    low: float
    high: float


def find_plane(name: str) -> Plane:
    """Look up a plane, or refuse its name.

    Parameters
    ----------
    name : str

    Returns
    -------
    Plane

    Raises
    ------
    InputError
        If there is none of this name.
    """
    if name not in PLANES:
        raise InputError(f"no plane {one_line(name, limit=40)!r}, expected {', '.join(PLANES)}", code="option")
    return PLANES[name]


def find_gray(preset: str) -> Gray:
    """Look up what a window preset shows, or refuse its name.

    Parameters
    ----------
    preset : str
        A key of `hilum.WINDOW_PRESETS`.

    Returns
    -------
    Gray

    Raises
    ------
    InputError
        If there is none of this name.
    """
    if preset not in WINDOW_PRESETS:
        known = ", ".join(WINDOW_PRESETS)
        raise InputError(f"no window preset {one_line(preset, limit=40)!r}, expected {known}", code="option")
    shown = WINDOW_PRESETS[preset]
    return Gray(shown.center - shown.width / 2, shown.center + shown.width / 2)


def upright(scan: Scan) -> Scan:
    """The scan with the axes of its volume and masks to the head, the back and the left; nothing is copied.

    Parameters
    ----------
    scan : Scan

    Returns
    -------
    Scan

    Raises
    ------
    UnsupportedError
        If the voxels are no HU.
    """
    check_hu(scan.ct)
    return replace(
        scan,
        ct=reorient(scan.ct),
        lungs=None if scan.lungs is None else reorient(scan.lungs),
        nodule_mask=None if scan.nodule_mask is None else reorient(scan.nodule_mask),
    )


def check_hu(volume: Volume) -> None:
    """Refuse voxels that are no numbers, or were brought to the unit range: a window of HU would show them all alike.

    Parameters
    ----------
    volume : Volume

    Raises
    ------
    UnsupportedError
        If they are floating-point numbers from -1 to 2.
    InputError
        If they hold NaN or infinity.
    """
    array = volume.array
    check_finite(array)
    if array.dtype.kind == "f" and array.min() >= -1 and array.max() <= 2:
        what = f"voxels from {array.min():.3g} to {array.max():.3g} are no HU but the unit range"
        raise UnsupportedError(what, do="draw the scan in HU", code="not-in-hu")


def cut(array: NDArray[Any], plane: Plane, place: int) -> NDArray[Any]:
    """Cut a slice so that row 0 is on top: the front in axial slices, the head in the others.

    Parameters
    ----------
    array : ndarray, shape (z, y, x)
        Axes to the head, the back and the left.
    plane : Plane
    place : int

    Returns
    -------
    ndarray, shape (rows, columns)
        A view.
    """
    taken: NDArray[Any] = array[(slice(None),) * plane.axis + (place,)]
    return taken if plane.axis == 0 else taken[::-1]


def size_mm(geometry: Geometry, plane: Plane) -> tuple[float, float]:
    """Height and width of a slice on paper, mm.

    Parameters
    ----------
    geometry : Geometry
    plane : Plane

    Returns
    -------
    tuple of float
    """
    height, width = (geometry.shape[a] * geometry.spacing[a] for a in (plane.rows, plane.columns))
    return height, width


def on_paper(geometry: Geometry, plane: Plane, world: tuple[float, float, float]) -> tuple[float, float, float]:
    """Where a place of the patient lies in a picture of a slice.

    Parameters
    ----------
    geometry : Geometry
    plane : Plane
    world : tuple of float, (x, y, z), LPS mm

    Returns
    -------
    x, y : float, mm
        From the picture's left and top edges.
    slice : float
        The index of the slice that holds it, not rounded.
    """
    voxel = geometry.world_to_index(world)
    x = (voxel[plane.columns] + 0.5) * geometry.spacing[plane.columns]
    y = (voxel[plane.rows] + 0.5) * geometry.spacing[plane.rows]
    if plane.axis != 0:
        y = geometry.shape[plane.rows] * geometry.spacing[plane.rows] - y
    return float(x), float(y), float(voxel[plane.axis])


def outlines(inside: NDArray[np.bool_], spacing: tuple[float, float]) -> list[NDArray[np.float64]]:
    """Lines around the marked pixels of a slice.

    Parameters
    ----------
    inside : ndarray of bool, shape (rows, columns)
    spacing : tuple of float, (row, column), mm

    Returns
    -------
    list of ndarray, each shape (n, 2)
        Closed lines of x and y in mm, half way between a marked pixel's center and the next.
    """
    if not inside.any():
        return []
    from contourpy import contour_generator

    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    part = np.pad(inside[top : rows[-1] + 1, left : columns[-1] + 1], 1).astype(np.float32)
    found = contour_generator(z=part).lines(0.5)
    # Pixel 0 of the padded part is the one before `left`, and a pixel's center lies half a pixel from its edge.
    corner, scale = np.array([left - 0.5, top - 0.5]), np.array([spacing[1], spacing[0]])
    return [(np.asarray(line) + corner) * scale for line in found]


def ring(geometry: Geometry, plane: Plane, place: int, nodule: Nodule) -> NDArray[np.float64] | None:
    """The circle in which a slice cuts a nodule's sphere.

    Parameters
    ----------
    geometry : Geometry
    plane : Plane
    place : int
        The slice.
    nodule : Nodule

    Returns
    -------
    ndarray, shape (73, 2), or None
        A closed line of x and y in mm; None where the slice does not meet the nodule.
    """
    x, y, level = on_paper(geometry, plane, nodule.center)
    squared = (nodule.diameter_mm / 2) ** 2 - ((level - place) * geometry.spacing[plane.axis]) ** 2
    if squared <= 0:
        return None
    turn = np.linspace(0, 2 * np.pi, 73)
    return np.stack([x + np.sqrt(squared) * np.cos(turn), y + np.sqrt(squared) * np.sin(turn)], axis=-1)


def slice_outlines(scan: Scan, plane: Plane, place: int) -> list[tuple[str, NDArray[np.float64]]]:
    """All lines that are drawn over a slice: around the lungs, and where it cuts nodules.

    Parameters
    ----------
    scan : Scan
        From `upright`.
    plane : Plane
    place : int

    Returns
    -------
    list of (color, ndarray of shape (n, 2), mm)
    """
    lines = []
    if scan.lungs is not None:
        labels = cut(scan.lungs.array, plane, place)
        spacing = (scan.ct.spacing[plane.rows], scan.ct.spacing[plane.columns])
        for label, color in SIDES.items():
            lines += [(color, line) for line in outlines(labels == label, spacing)]
    rings = [ring(scan.ct.geometry, plane, place, nodule) for nodule in scan.nodules]
    return lines + [(NODULE, line) for line in rings if line is not None]
