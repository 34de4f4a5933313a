"""How far some habits of 2017 put a place of a scan beside where it is.

Each is a line of code that was copied a lot; each is measured on the very grid of a scan. See `hilum.pictures.compare`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hilum.ops.resample import resampled_geometry

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from hilum.geometry import Geometry


@dataclass(frozen=True, eq=False)
class Shift:
    """What a habit does to places.

    Parameters
    ----------
    name : str
        What is done, in a few words.
    mm : ndarray, shape (n,)
        How far from where it is each place is looked for, mm.
    """

    name: str
    mm: NDArray[np.float64]


def place_shifts(geometry: Geometry, places: ArrayLike, *, spacing: float = 1.0) -> tuple[Shift, ...]:
    """Measure every habit at some places of a scan.

    Parameters
    ----------
    geometry : Geometry
        The scan's own grid.
    places : array_like, shape (n, 3), (x, y, z), LPS mm
    spacing : float, mm
        To which the scan is resampled.

    Returns
    -------
    tuple of Shift
    """
    where = np.asarray(places, np.float64).reshape(-1, 3)
    return (
        Shift("voxel v taken to v s/s' on the corner grid", corner_shift(geometry, where, spacing=spacing)),
        Shift("slices sorted by int(z), at worst", order_shift(geometry, where)),
        Shift("axes' directions ignored", direction_shift(geometry, where)),
    )


def corner_shift(geometry: Geometry, places: NDArray[np.float64], *, spacing: float) -> NDArray[np.float64]:
    """Take voxel v to v s / s' where a zoom with matching corners took it to v (n' - 1) / (n - 1).

    Parameters
    ----------
    geometry : Geometry
    places : ndarray, shape (n, 3), (x, y, z), LPS mm
    spacing : float, mm

    Returns
    -------
    ndarray, shape (n,), mm
        s' is s n / n', as the 2017 tutorial returns it.
    """
    new = resampled_geometry(geometry, spacing=spacing, grid="corner")
    scale = np.array(new.shape) / geometry.shape
    moved = new.index_to_world(geometry.world_to_index(places) * scale)
    distance: NDArray[np.float64] = np.linalg.norm(moved - places, axis=-1)
    return distance


def order_shift(geometry: Geometry, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sort slices by the whole part of their z: those that share it may come in any order.

    Parameters
    ----------
    geometry : Geometry
        Slices along axis 0.
    places : ndarray, shape (n, 3), (x, y, z), LPS mm

    Returns
    -------
    ndarray, shape (n,), mm
        How far the slice of each place can be put from where it is, at worst.
    """
    count = geometry.shape[0]
    index = np.zeros((count, 3))
    index[:, 0] = np.arange(count)
    origins = geometry.index_to_world(index)
    whole = np.trunc(np.round(origins[:, 2], 6))
    nearest = np.clip(np.rint(geometry.world_to_index(places)[:, 0]), 0, count - 1).astype(int)
    same = whole[nearest][:, None] == whole
    steps = np.abs(nearest[:, None] - np.arange(count)) * geometry.spacing[0]
    worst: NDArray[np.float64] = np.where(same, steps, 0.0).max(axis=1)
    return worst


def direction_shift(geometry: Geometry, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide (place - origin) by the spacing, as if the axes ran to the left, the back and the head.

    Parameters
    ----------
    geometry : Geometry
    places : ndarray, shape (n, 3), (x, y, z), LPS mm

    Returns
    -------
    ndarray, shape (n,), mm
        0 for a plain axial scan; a flipped one is searched on the other side.
    """
    index = ((places - geometry.origin) / geometry.spacing[::-1])[:, ::-1]
    distance: NDArray[np.float64] = np.linalg.norm(geometry.index_to_world(index) - places, axis=-1)
    return distance
