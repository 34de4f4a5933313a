"""The regular grid of the frames of a segmentation."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from hilum.errors import GeometryError
from hilum.geometry import Geometry, Vector
from hilum.ops.labels.contours import TOLERANCE_MM

_MOST_PLANES = 2**12

_SAME_PIXEL = 0.1  # pixels by which frames may lie beside each other: positions are rounded

_SAME_STEP = 0.01  # part of the step by which its rounding may change it

_SAME_AXES = 1e-3  # largest difference of a component of unit vectors that are the same


class Plane(NamedTuple):
    """Where a frame lies.

    Parameters
    ----------
    position : tuple of float, (x, y, z), LPS mm
        The center of its first pixel.
    orientation : six floats
        Row direction, then column direction, LPS.
    spacing : tuple of float, (row, column), mm
        Distance of pixel centers.
    step, thickness : float, mm
        SpacingBetweenSlices and SliceThickness; 0 where absent.
    """

    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing: tuple[float, ...]
    step: float
    thickness: float


class SegGrid(NamedTuple):
    """The grid of a segmentation.

    Parameters
    ----------
    geometry : Geometry
        Where its voxels lie.
    starts : list of (int, int, int), (z, y, x)
        Where the first pixel of each frame lies.
    moved : float
        How far frames were moved within their planes, in pixels; 0 for a straight grid.
    """

    geometry: Geometry
    starts: list[tuple[int, int, int]]
    moved: float


def fit_planes(planes: Sequence[Plane], shape: tuple[int, int], scan: Geometry, path: Path) -> SegGrid:
    """Fit the regular grid on which frames lie.

    Parameters
    ----------
    planes : sequence of Plane
        At least one.
    shape : tuple of int, (rows, columns)
        Number of pixels of a frame.
    scan : Geometry
        The grid of the scan. Frames on its slices have its slice spacing.
    path : Path
        For messages.

    Raises
    ------
    GeometryError
        If the frames are not parallel, not regularly spaced, or sheared where the scan is not.
    """
    first = planes[0]
    if min(first.spacing) <= 0:
        raise GeometryError("its pixel spacing is not positive", where=path, do="export it again", code="bad-geometry")
    if any(
        np.abs(np.subtract(p.orientation, first.orientation)).max() > _SAME_AXES
        or np.abs(np.subtract(p.spacing, first.spacing)).max() > _SAME_AXES * min(first.spacing)
        for p in planes
    ):
        raise _refusal("its frames have different orientations or pixel spacings", path)
    across, down = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    normal = np.cross(across, down)
    points = np.array([p.position for p in planes])
    heights = points @ normal
    step = _find_step(points, heights, first, scan)
    if not step:
        raise _refusal("its frames are not regularly spaced", path)
    numbers = np.rint((heights - heights.min()) / step).astype(int)
    if numbers.max() >= _MOST_PLANES:
        raise _refusal("its frames are too far apart for their spacing", path)
    lateral = np.stack([points @ down, points @ across], axis=1) / first.spacing
    if np.ptp(lateral, axis=0).max() > _SAME_PIXEL:
        return _place_on_scan(points, first, scan, path)
    lowest = points[heights.argmin()]
    axes = cast("tuple[Vector, Vector, Vector]", tuple(tuple(v.tolist()) for v in (normal, down, across)))
    spacing = (step, first.spacing[0], first.spacing[1])
    geometry = Geometry((int(numbers.max()) + 1, *shape), spacing, cast("Vector", tuple(lowest.tolist())), axes)
    return SegGrid(geometry, [(int(number), 0, 0) for number in numbers], 0.0)


def _refusal(what: str, path: Path) -> GeometryError:
    return GeometryError(what, where=path, do="export it again, on the slices of its series", code="irregular-seg")


def _find_step(points: NDArray[np.float64], heights: NDArray[np.float64], first: Plane, scan: Geometry) -> float:
    """The distance of planes on which all frames lie, mm; 0 if there is none. Frames without pixels may be absent."""
    away = scan.world_to_index(points)[:, 0]
    normal = np.cross(first.orientation[:3], first.orientation[3:])
    on_slices = bool(np.abs(away - np.rint(away)).max() * scan.spacing[0] <= TOLERANCE_MM)
    on_slices &= abs(float(np.dot(normal, scan.direction[0]))) > 1 - _SAME_AXES
    distinct = np.unique(np.round(heights - heights.min(), 3))
    gaps = np.diff(distinct)
    gaps = gaps[gaps > TOLERANCE_MM]
    if not gaps.size:
        return first.step or (scan.spacing[0] if on_slices else first.thickness)
    own = float(np.median(gaps[gaps < 1.5 * gaps.min()]))
    is_thicker = own > 1.5 * scan.spacing[0] and _is_step(first.step or first.thickness, own)
    if on_slices and not is_thicker:
        return scan.spacing[0]
    # A stated step that no two of several planes have is not theirs: every second plane would be empty.
    is_theirs = len(gaps) == 1 or _is_step(first.step, own)
    for step in (first.step if is_theirs else own, own):
        numbers = np.rint(distinct / max(step, TOLERANCE_MM))
        exact = float(distinct[-1] / max(numbers[-1], 1))
        if _is_step(exact, step) and np.abs(distinct - numbers * exact).max() <= TOLERANCE_MM:
            return exact
    return 0.0


def _is_step(one: float, other: float) -> bool:
    return abs(one - other) <= _SAME_STEP * other


def _place_on_scan(points: NDArray[np.float64], first: Plane, scan: Geometry, path: Path) -> SegGrid:
    """Frames that are sheared, as the slices of a tilted gantry are: to the nearest pixel of the scan's grid."""
    axes = (*first.orientation[3:], *first.orientation[:3])
    same = np.abs(np.subtract(axes, (*scan.direction[1], *scan.direction[2]))).max() <= _SAME_AXES
    same &= np.abs(np.subtract(first.spacing, scan.spacing[1:])).max() <= _SAME_AXES * min(first.spacing)
    index = scan.world_to_index(points)
    whole = np.rint(index).astype(int)
    moved = np.abs(index - whole).max(axis=0)
    if not same or moved[0] * scan.spacing[0] > TOLERANCE_MM:
        raise _refusal("its frames are shifted sideways, and do not lie on the slices of the scan", path)
    if whole[:, 0].min() < 0 or whole[:, 0].max() >= scan.shape[0]:
        raise _refusal("its frames are shifted sideways, and lie beyond the slices of the scan", path)
    starts = [cast("tuple[int, int, int]", tuple(row)) for row in whole.tolist()]
    return SegGrid(scan, starts, float(moved[1:].max()))
