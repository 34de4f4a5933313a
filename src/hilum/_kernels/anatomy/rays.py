"""Rays in axial planes of the coarse grid, from the middle of a lung to the ribs.

The solid cells between the last cell of lung and the first of bone on a ray are candidates for dense lung.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hilum._kernels.compile.kernel import kernel
from hilum._kernels.threads import run_slabs

if TYPE_CHECKING:
    from numpy.typing import NDArray

RAYS = 288
"""Number of directions in a plane."""


@kernel()
def _cast(
    labels: Any, label: int, solid: Any, bone: Any, centers: Any, allowed: Any, rays: Any, size: Any, gap: float,
    out: Any, start: int, stop: int,
) -> None:  # fmt: skip
    ny, nx = labels.shape[1:]
    step = 0.7 * min(size[0], size[1])
    margin = int(np.ceil(gap / step))
    for z in range(start, stop):
        if centers[z, 0] < 0:
            continue
        for ray in range(rays.shape[0]):
            if not allowed[z, ray]:
                continue
            dy, dx = rays[ray, 0] * step / size[0], rays[ray, 1] * step / size[1]
            lung, rib, n = -1, -1, 0
            while True:
                y, x = int(centers[z, 0] + n * dy + 0.5), int(centers[z, 1] + n * dx + 0.5)
                outside = y < 0 or x < 0 or y >= ny or x >= nx
                if outside or centers[z, 0] + n * dy < -0.5 or centers[z, 1] + n * dx < -0.5:
                    break
                if labels[z, y, x] == label:
                    lung, rib = n, -1
                elif lung >= 0:
                    if not solid[z, y, x]:
                        rib = -1
                        break
                    if bone[z, y, x]:
                        rib = n
                        break
                n += 1
            last = rib - margin
            for n in range(lung + 1, last):
                y, x = int(centers[z, 0] + n * dy + 0.5), int(centers[z, 1] + n * dx + 0.5)
                out[z, y, x] = True


def directions() -> NDArray[np.float64]:
    """Unit vectors (y, x) of the rays, shape (RAYS, 2)."""
    angles = np.arange(RAYS) * (2 * np.pi / RAYS)
    return np.stack([np.sin(angles), np.cos(angles)], axis=1)


def between_lung_and_ribs(
    labels: NDArray[np.uint8],
    label: int,
    solid: NDArray[np.bool_],
    bone: NDArray[np.bool_],
    centers: NDArray[np.float64],
    allowed: NDArray[np.bool_],
    size: tuple[float, float],
    *,
    gap: float,
    workers: int = 1,
) -> NDArray[np.bool_]:
    """Find the solid cells that rays from the middle of a lung cross between the lung and a rib.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x)
    label : int
        Of the lung.
    solid, bone : ndarray of bool, shape (z, y, x)
        A ray is ignored if it crosses a cell that is neither solid nor lung before it meets bone.
    centers : ndarray of float64, shape (z, 2)
        Start of the rays of each plane, (y, x) in cells; negative for a plane without rays.
    allowed : ndarray of bool, shape (z, RAYS)
        The directions to follow in each plane.
    size : tuple of float, (y, x), mm
        Of a cell.
    gap : float, mm
        Cells nearer to the rib are left out.
    workers : int

    Returns
    -------
    ndarray of bool, shape (z, y, x)
    """
    out = np.zeros(labels.shape, np.bool_)
    parts = (labels, label, solid, bone, centers, allowed, directions(), np.array(size), gap, out)
    run_slabs(lambda a, b: _cast(*parts, a, b), labels.shape[0], workers=workers)
    return out
