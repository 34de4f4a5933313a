"""The lung mask of single slices: the eight steps of the 2017 tutorial, for each plane of axis 0.

1. Air: below -420 HU (604 in stored units with an intercept of -1024).
2. Air that touches the border of the slice is removed (connected over corners).
3. The components of the remaining air are labeled.
4. The two largest components remain, and components as large as the second.
5. Erosion by a disk of radius 2 separates nodules from vessels; pixels outside the slice count as lung.
6. Closing by a disk of radius 10 includes nodules at the wall.
7. Edges are found by the Roberts cross, and their holes are filled.
8. The slice is set to -1024 HU (0 stored) outside the mask.

Radii are in voxels, not millimetres, as in the original.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.bitmask import bits, edges, morphology, planar
from hilum._kernels.bitmask.mask import BitMask
from hilum._kernels.components import labeling, selection
from hilum._kernels.components.labeling import Runs
from hilum._kernels.threads import run_slabs
from hilum.errors import InputError

AIR_BELOW = -420.0
"""HU; the tutorial's 604 in stored units."""

OUTSIDE = -1024
"""HU outside the mask; the tutorial's 0 in stored units."""

ERODE_RADIUS = 2
CLOSE_RADIUS = 10


class Steps2D(NamedTuple):
    """The slice after each of the eight steps.

    Parameters
    ----------
    air, cleared : ndarray of bool, shape (y, x)
        Below the threshold, and without what touches the border.
    labeled : ndarray of int32, shape (y, x)
        Components numbered from 1 in raster order of their first pixels.
    largest, eroded, closed, filled : ndarray of bool, shape (y, x)
        The two largest components; eroded; closed; without holes.
    masked : ndarray, shape (y, x), HU
        The slice with -1024 HU outside `filled`.
    """

    air: NDArray[np.bool_]
    cleared: NDArray[np.bool_]
    labeled: NDArray[np.int32]
    largest: NDArray[np.bool_]
    eroded: NDArray[np.bool_]
    closed: NDArray[np.bool_]
    filled: NDArray[np.bool_]
    masked: NDArray[np.int16]


def steps2d(slice_hu: NDArray[np.int16]) -> Steps2D:
    """Run the eight steps on one axial slice, for pictures.

    Parameters
    ----------
    slice_hu : ndarray, shape (y, x), HU
        The slice.

    Returns
    -------
    Steps2D
        `filled` is the mask.

    Raises
    ------
    InputError
        If the array is not two-dimensional or has no voxels.
    """
    if slice_hu.ndim != 2 or not slice_hu.size:
        raise InputError(f"the array has shape {slice_hu.shape}, expected one slice (y, x)", code="shape")
    areas, inside, steps = _run_steps(slice_hu[None])
    steps["cleared"] = selection.select(areas, inside)
    planes = {name: bits.unpack(mask)[0] for name, mask in steps.items()}
    return Steps2D(
        labeled=selection.label_image(areas, only=inside)[0],
        masked=np.where(planes["filled"], slice_hu, np.int16(OUTSIDE)).astype(slice_hu.dtype),
        **planes,
    )


def lungs_by_slice(hu: NDArray[np.int16], *, workers: int = 0) -> NDArray[np.uint8]:
    """Compute the mask of the eight steps for every plane of axis 0.

    Parameters
    ----------
    hu : ndarray of int16 or float32, shape (z, y, x), HU
        The volume.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    ndarray of uint8, shape (z, y, x)
        1 in the lungs.
    """
    out = np.zeros(hu.shape, np.uint8)

    def work(first: int, stop: int) -> None:
        _, _, steps = _run_steps(hu[first:stop])
        bits.write_label(steps["filled"], out[first:stop])

    run_slabs(work, hu.shape[0], workers=workers, slabs=16)
    return out


def _run_steps(hu: NDArray[np.int16]) -> tuple[Runs, NDArray[np.bool_], dict[str, BitMask]]:
    """The components of air, which of them touch no border, and the results of the other steps by name."""
    air = bits.below(hu, AIR_BELOW)
    areas = labeling.find_components(air, corners=True, planes=True)
    inside = ~labeling.touching_sides(areas)
    # Labeling the remaining air again, as the tutorial does, would give the same components.
    largest = selection.select(areas, selection.largest_by_plane(areas, keep=2, among=inside))
    near, far = (morphology.ellipsoid(r, (np.inf, 1.0, 1.0), hu.shape) for r in (ERODE_RADIUS, CLOSE_RADIUS))
    eroded = planar.apply_steps(largest, [("erode", near)])
    closed = planar.apply_steps(eroded, [("dilate", far), ("erode", far)])
    filled = selection.fill_planes(edges.roberts_edges(closed))
    return areas, inside, {"air": air, "largest": largest, "eroded": eroded, "closed": closed, "filled": filled}
