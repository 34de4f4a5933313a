"""Slices as pictures: which voxels a slice has, where its sides are, and how large it is.

Every slice is drawn in millimetres: x runs from the picture's left edge, y from its top edge down. So voxels keep their
true shape, and a bar of 20 mm is 20 long. It is the radiologist's view: the patient's right is on the picture's left,
the front is on top of axial slices, the head on top of the others.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hilum.errors import GeometryError, InputError, UnsupportedError, one_line
from hilum.geometry import Geometry
from hilum.ops import finite, intensity, reorient
from hilum.ops.arguments import refuse_type
from hilum.ops.labels.overlay import on_grid
from hilum.scan import Scan
from hilum.volume import Mask, Volume

if TYPE_CHECKING:
    from hilum.runs.run_scan import RunScan

Drawn: TypeAlias = "Scan | Volume | RunScan"  # what a picture is drawn of; a mask is not, although it is a volume


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


Pair = tuple[float, float]

PLANES: dict[str, Plane] = {  # of volumes whose axes run to the head, the back and the left
    "axial": Plane(0, 1, 2, "RLAP"),
    "coronal": Plane(1, 0, 2, "RLHF"),
    "sagittal": Plane(2, 0, 1, "APHF"),
}


def find_plane(name: str) -> Plane:
    """Look up a plane by its name."""
    if name not in PLANES:
        raise InputError(f"no plane {one_line(name, limit=40)!r}, expected {', '.join(PLANES)}", code="option")
    return PLANES[name]


def gray_range(preset: str) -> Pair:
    """Look up the HU values that a preset of `hilum.WINDOW_PRESETS` draws black and white."""
    if preset not in intensity.WINDOW_PRESETS:
        known = ", ".join(intensity.WINDOW_PRESETS)
        raise InputError(f"no window preset {one_line(preset, limit=40)!r}, expected {known}", code="option")
    window = intensity.WINDOW_PRESETS[preset]
    return window.center - window.width / 2, window.center + window.width / 2


def window_text(preset: str) -> str:
    """Name a window preset, with the HU values that it draws black and white."""
    low, high = gray_range(preset)
    return f"{preset} window, {low:g} to {high:g} HU"


def scan_of(drawn: Drawn, *, lungs: Mask | None = None) -> Scan:
    """Give what is drawn as a scan, with other lungs if there are some."""
    scan = drawn if isinstance(drawn, Scan) else _scan_of_other(drawn)
    if lungs is None:
        return scan
    if not lungs.geometry.isclose(scan.ct.geometry):
        raise GeometryError("the lungs are not on the volume's grid", do="resample the mask")
    return replace(scan, lungs=lungs)


def _scan_of_other(drawn: object) -> Scan:
    if isinstance(drawn, Volume) and not isinstance(drawn, Mask):
        return Scan("", drawn)
    from hilum.runs.run_scan import RunScan  # late: what reads runs is larger than what draws a scan

    if isinstance(drawn, RunScan):
        return drawn.scan()
    do = "a mask is drawn over its scan: hilum.plot.montage(scan, lungs=mask)" if isinstance(drawn, Mask) else ""
    return refuse_type(drawn, "scan or volume", do=do)


def reorient_hu(scan: Scan) -> Scan:
    """Turn the axes of volume and masks to the head, the back and the left, without a copy.

    Label maps on another grid are placed on the volume's. Refuses voxels that are not finite or are in the unit range,
    which a window of HU would draw all alike.
    """
    array = scan.ct.array
    finite.check_finite(array)
    if array.dtype.kind == "f" and array.min() >= -1 and array.max() <= 2:
        what = f"voxels from {array.min():.3g} to {array.max():.3g} are in the unit range, not in HU"
        raise UnsupportedError(what, do="draw the scan in HU", code="not-in-hu")
    return reorient.reorient(replace(scan, label_maps=on_grid(scan.label_maps, scan.ct.geometry)))


def check_slice(index: int | None, count: int) -> None:
    """Refuse the index of a slice that a volume does not have."""
    if index is not None and not 0 <= index < count:
        raise InputError(f"no slice {index}, expected 0 to {count - 1}", code="option")


def slice_at(geometry: Geometry, plane: Plane, world: Sequence[float]) -> int:
    """Give the index of the slice nearest to a point (x, y, z), LPS mm."""
    return int(np.clip(np.rint(geometry.world_to_index(world)[plane.axis]), 0, geometry.shape[plane.axis] - 1))


def largest_lung_slice(lungs: NDArray[np.uint8]) -> int:
    """Give the index of the axial slice with the most lung; of the middle slice without any."""
    return int(np.count_nonzero(lungs, axis=(1, 2)).argmax()) if lungs.any() else len(lungs) // 2


def slice_pixels(array: NDArray[Any], plane: Plane, index: int) -> NDArray[Any]:
    """Cut a slice of a reoriented array, top row first: the front in axial slices, the head in the others."""
    pixels: NDArray[Any] = array[(slice(None),) * plane.axis + (index,)]
    return pixels if plane.axis == 0 else pixels[::-1]


def size_mm(geometry: Geometry, plane: Plane) -> Pair:
    """Give height and width of a slice, mm."""
    height, width = (geometry.shape[a] * geometry.spacing[a] for a in (plane.rows, plane.columns))
    return height, width


def picture_position(geometry: Geometry, plane: Plane, world: tuple[float, float, float]) -> tuple[float, float, float]:
    """Convert a point (x, y, z), LPS mm, to x and y from the left and top edge, mm, and a fractional slice index."""
    voxel = geometry.world_to_index(world)
    x = (voxel[plane.columns] + 0.5) * geometry.spacing[plane.columns]
    y = (voxel[plane.rows] + 0.5) * geometry.spacing[plane.rows]
    if plane.axis != 0:
        y = geometry.shape[plane.rows] * geometry.spacing[plane.rows] - y
    return float(x), float(y), float(voxel[plane.axis])
