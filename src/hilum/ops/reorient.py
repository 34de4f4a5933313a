"""Turn a volume's axes so that they run as close as possible to head, back and left."""

from __future__ import annotations

from itertools import permutations
from typing import TypeVar, cast

import numpy as np

from hilum.geometry import Geometry, Vector
from hilum.volume import Volume

AnyVolume = TypeVar("AnyVolume", bound=Volume)


def reorient(volume: AnyVolume) -> AnyVolume:
    """Permute and flip the array's axes so that z, y, x run closest to the patient's head, back and left.

    Nothing moves in the patient and no voxel changes its value: an oblique volume stays oblique, its axes are only
    taken in the order, and with the sign, for which they are nearest to the patient's.

    Parameters
    ----------
    volume : Volume or Mask, shape (z, y, x)

    Returns
    -------
    Volume or Mask
        A view of the input's voxels; the input itself where its axes run so already.

    Examples
    --------
    >>> up_side_down = Geometry((2, 3, 4), (5.0, 1.0, 1.0), direction=((0, 0, -1), (0, 1, 0), (1, 0, 0)))
    >>> reorient(Volume(np.zeros((2, 3, 4), np.int16), up_side_down)).geometry.origin
    (0.0, 0.0, -5.0)
    """
    old = volume.geometry
    order, flips = body_axes(old)
    if order == (0, 1, 2) and not any(flips):
        return volume
    far = [old.shape[axis] - 1 if flip else 0 for axis, flip in zip(order, flips, strict=True)]
    corner = np.zeros(3)
    corner[list(order)] = far
    signs = [-1.0 if flip else 1.0 for flip in flips]
    direction = tuple(
        tuple(sign * part + 0.0 for part in old.direction[axis]) for axis, sign in zip(order, signs, strict=True)
    )
    geometry = Geometry(
        shape=cast("tuple[int, int, int]", tuple(old.shape[axis] for axis in order)),
        spacing=cast("Vector", tuple(old.spacing[axis] for axis in order)),
        origin=cast("Vector", tuple(old.index_to_world(corner).tolist())),
        direction=cast("tuple[Vector, Vector, Vector]", direction),
    )
    step = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
    return type(volume)(volume.array.transpose(order)[step], geometry)


def body_axes(geometry: Geometry) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Which array axes run along the body, and which of them the other way.

    Parameters
    ----------
    geometry : Geometry

    Returns
    -------
    order : tuple of int
        The array axes closest to the directions to the head, the back and the left.
    flips : tuple of bool
        Whether each of them points the other way.
    """
    along = np.array(geometry.direction)[:, ::-1]  # an axis's part along head, back and left
    best = max(permutations(range(3)), key=lambda order: sum(abs(along[axis, k]) for k, axis in enumerate(order)))
    flips = tuple(bool(along[axis, k] < 0) for k, axis in enumerate(best))
    return cast("tuple[int, int, int]", best), cast("tuple[bool, bool, bool]", flips)
