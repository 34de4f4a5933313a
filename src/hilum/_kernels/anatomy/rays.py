"""Rays in axial planes of cells: what lies between the lung and the ribs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hilum._kernels.compile.kernel import kernel
from hilum._kernels.threads import run_slabs

if TYPE_CHECKING:
    from numpy.typing import NDArray

RAYS = 288
"""Directions in a plane."""


@kernel()
def _cast(
    labels: Any,
    label: int,
    solid: Any,
    bone: Any,
    centers: Any,
    allowed: Any,
    turn: Any,
    size: Any,
    gap: float,
    out: Any,
    start: int,
    stop: int,
) -> None:
    ny, nx = labels.shape[1:]
    step = 0.7 * min(size[0], size[1])
    margin = int(np.ceil(gap / step))
    for z in range(start, stop):
        if centers[z, 0] < 0:
            continue
        for ray in range(turn.shape[0]):
            if not allowed[z, ray]:
                continue
            dy, dx = turn[ray, 0] * step / size[0], turn[ray, 1] * step / size[1]
            lung, rib, n = -1, -1, 0
            while True:
                y, x = int(centers[z, 0] + n * dy + 0.5), int(centers[z, 1] + n * dx + 0.5)
                if (
                    y < 0
                    or x < 0
                    or y >= ny
                    or x >= nx
                    or centers[z, 0] + n * dy < -0.5
                    or centers[z, 1] + n * dx < -0.5
                ):
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
    """The unit vectors (y, x) of the rays, shape (RAYS, 2)."""
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
    """Solid cells that rays from the middle of a lung cross after they have left it and before they meet a rib.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x)
    label : int
        Of the lung.
    solid, bone : ndarray of bool, shape (z, y, x)
        A ray that crosses a cell that is neither solid nor lung before it meets bone counts for nothing.
    centers : ndarray of float64, shape (z, 2)
        Where the rays of each plane start, (y, x) in cells; negative for none.
    allowed : ndarray of bool, shape (z, RAYS)
        Which directions of each plane are looked into.
    size : tuple of float, (y, x), mm
        Of a cell.
    gap : float, mm
        What is so near to the rib is left out.
    workers : int

    Returns
    -------
    ndarray of bool, shape (z, y, x)
    """
    out = np.zeros(labels.shape, np.bool_)
    parts = (labels, label, solid, bone, centers, allowed, directions(), np.array(size), gap, out)
    run_slabs(lambda a, b: _cast(*parts, a, b), labels.shape[0], workers=workers)
    return out
