"""Slices as pictures: which voxels a slice has, where its sides are, and how large it is.

Every slice is drawn in millimetres: x runs from the picture's left edge, y from its top edge down. So voxels keep their
true shape, and a bar of 20 mm is 20 long. It is the radiologist's view: the patient's right is on the picture's left,
the front is on top of axial slices, the head on top of the others.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hilum.errors import InputError, UnsupportedError, one_line
from hilum.ops.finite import check_finite
from hilum.ops.intensity import WINDOW_PRESETS
from hilum.ops.reorient import reorient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hilum.geometry import Geometry
    from hilum.scan import Scan
    from hilum.volume import Volume


class Plane(NamedTuple):
    """How the slices of one direction are drawn.

    Parameters
    ----------
    axis, rows, columns : int
        The array axis across the slices, and those that run down and across the picture.
    letters : str
        The sides at the picture's left, right, top and bottom: Right, Left, Anterior, Posterior, Head, Feet.
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
"""The planes by name, for volumes whose axes run to the head, the back and the left."""


def find_plane(name: str) -> Plane:
    """Look up a plane.

    Parameters
    ----------
    name : str

    Returns
    -------
    Plane

    Raises
    ------
    InputError
        If there is no plane of this name.
    """
    if name not in PLANES:
        raise InputError(f"no plane {one_line(name, limit=40)!r}, expected {', '.join(PLANES)}", code="option")
    return PLANES[name]


def gray_range(preset: str) -> tuple[float, float]:
    """Look up the range of a window preset.

    Parameters
    ----------
    preset : str
        A key of `hilum.WINDOW_PRESETS`.

    Returns
    -------
    low, high : float
        The values that are drawn black and white, HU.

    Raises
    ------
    InputError
        If there is no preset of this name.
    """
    if preset not in WINDOW_PRESETS:
        known = ", ".join(WINDOW_PRESETS)
        raise InputError(f"no window preset {one_line(preset, limit=40)!r}, expected {known}", code="option")
    window = WINDOW_PRESETS[preset]
    return window.center - window.width / 2, window.center + window.width / 2


def reorient_scan(scan: Scan) -> Scan:
    """Turn the axes of a scan's volume and masks to the head, the back and the left, without a copy.

    Parameters
    ----------
    scan : Scan

    Returns
    -------
    Scan

    Raises
    ------
    UnsupportedError
        If the voxels are not in HU.
    """
    check_hu(scan.ct)
    return replace(
        scan,
        ct=reorient(scan.ct),
        lungs=None if scan.lungs is None else reorient(scan.lungs),
        nodule_mask=None if scan.nodule_mask is None else reorient(scan.nodule_mask),
    )


def check_hu(volume: Volume) -> None:
    """Refuse voxels that are not finite or are in the unit range, which a window of HU would draw all alike.

    Parameters
    ----------
    volume : Volume

    Raises
    ------
    UnsupportedError
        If the voxels are floating-point numbers from -1 to 2.
    InputError
        If they include NaN or infinity.
    """
    array = volume.array
    check_finite(array)
    if array.dtype.kind == "f" and array.min() >= -1 and array.max() <= 2:
        what = f"voxels from {array.min():.3g} to {array.max():.3g} are in the unit range, not in HU"
        raise UnsupportedError(what, do="draw the scan in HU", code="not-in-hu")


def check_slice(index: int | None, count: int) -> None:
    """Refuse the index of a slice that a volume does not have.

    Parameters
    ----------
    index : int or None
    count : int
        The slices of the volume.

    Raises
    ------
    InputError
    """
    if index is not None and not 0 <= index < count:
        raise InputError(f"no slice {index}, expected 0 to {count - 1}", code="option")


def slice_at(geometry: Geometry, plane: Plane, world: Sequence[float]) -> int:
    """Give the index of the slice nearest to a point.

    Parameters
    ----------
    geometry : Geometry
    plane : Plane
    world : sequence of float, (x, y, z), LPS mm

    Returns
    -------
    int
    """
    return int(np.clip(np.rint(geometry.world_to_index(world)[plane.axis]), 0, geometry.shape[plane.axis] - 1))


def largest_lung_slice(lungs: NDArray[np.uint8]) -> int:
    """Give the index of the axial slice with the most lung; of the middle slice without any.

    Parameters
    ----------
    lungs : ndarray of uint8, shape (z, y, x)

    Returns
    -------
    int
    """
    return int(np.count_nonzero(lungs, axis=(1, 2)).argmax()) if lungs.any() else len(lungs) // 2


def slice_pixels(array: NDArray[Any], plane: Plane, index: int) -> NDArray[Any]:
    """Cut a slice with its top row first: the front in axial slices, the head in the others.

    Parameters
    ----------
    array : ndarray, shape (z, y, x)
        Axes to the head, the back and the left.
    plane : Plane
    index : int

    Returns
    -------
    ndarray, shape (rows, columns)
        A view.
    """
    pixels: NDArray[Any] = array[(slice(None),) * plane.axis + (index,)]
    return pixels if plane.axis == 0 else pixels[::-1]


def size_mm(geometry: Geometry, plane: Plane) -> tuple[float, float]:
    """Give height and width of a slice, mm.

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


def picture_position(geometry: Geometry, plane: Plane, world: tuple[float, float, float]) -> tuple[float, float, float]:
    """Convert a point of the patient to a position in a picture of slices.

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
        The fractional index of the slice.
    """
    voxel = geometry.world_to_index(world)
    x = (voxel[plane.columns] + 0.5) * geometry.spacing[plane.columns]
    y = (voxel[plane.rows] + 0.5) * geometry.spacing[plane.rows]
    if plane.axis != 0:
        y = geometry.shape[plane.rows] * geometry.spacing[plane.rows] - y
    return float(x), float(y), float(voxel[plane.axis])
