"""Reorder and flip a volume's axes so that they run as close as possible to the head, the back and the left."""

from dataclasses import replace
from itertools import permutations
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from hilum.geometry import Geometry
from hilum.ops.arguments import VolumeOrScan, volume_of
from hilum.scan import LabelMap, Scan
from hilum.volume import AnyVolume


def reorient(volume: VolumeOrScan) -> VolumeOrScan:
    """Permute and flip the array's axes so that z, y, x run closest to the patient's head, back and left.

    No voxel changes its value or its position in the patient. An oblique volume stays oblique: only the order and the
    signs of its axes change.

    Parameters
    ----------
    volume : Volume, Mask or Scan, shape (z, y, x)
        In any orientation; of a scan, all that lies on its grid is turned.

    Returns
    -------
    Volume, Mask or Scan
        A view of the input's voxels; the input itself if its axes already run this way. Of a scan, the CT, the masks
        and the label maps are reoriented, and ``slice_uids`` follow the slices; they are left out if slices no longer
        are planes of the array.

    Raises
    ------
    InputTypeError
        If the argument is neither a volume nor a scan.

    Examples
    --------
    >>> import hilum
    >>> import numpy as np
    >>> up_side_down = hilum.Geometry((2, 3, 4), (5.0, 1.0, 1.0), direction=((0, 0, -1), (0, 1, 0), (1, 0, 0)))
    >>> hilum.reorient(hilum.Volume(np.zeros((2, 3, 4), np.int16), up_side_down)).geometry.origin
    (0.0, 0.0, -5.0)
    """
    ct = volume_of(volume)
    order, flips = body_axes(ct.geometry)
    if not isinstance(volume, Scan):
        same = order == (0, 1, 2) and not any(flips)
        return cast("VolumeOrScan", ct if same else permute(ct, order, flips))
    lungs, nodule_mask = (None if mask is None else reorient(mask) for mask in (volume.lungs, volume.nodule_mask))
    label_maps = {name: LabelMap(reorient(one.mask), one.values) for name, one in volume.label_maps.items()}
    slice_uids = () if order[0] else volume.slice_uids[:: -1 if flips[0] else 1]
    changed = replace(
        volume, ct=reorient(ct), lungs=lungs, nodule_mask=nodule_mask, label_maps=label_maps, slice_uids=slice_uids
    )  # fmt: skip
    return cast("VolumeOrScan", changed)


def permute(volume: AnyVolume, order: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> AnyVolume:
    """Put the axes of a volume in an order, and reverse some of them; every voxel keeps its position in the patient.

    `order` and `flips` are as `body_axes` gives them. The result is a view.
    """
    old = volume.geometry
    far = [old.shape[axis] - 1 if flip else 0 for axis, flip in zip(order, flips, strict=True)]
    corner = np.zeros(3)
    corner[list(order)] = far
    signs = [-1.0 if flip else 1.0 for flip in flips]
    direction = [[sign * part + 0.0 for part in old.direction[axis]] for axis, sign in zip(order, signs, strict=True)]
    shape, spacing = ([values[axis] for axis in order] for values in (old.shape, old.spacing))
    geometry = Geometry(shape, spacing, old.index_to_world(corner), direction)  # type: ignore[arg-type]  # three of each
    return replace(volume, array=_permute_array(volume.array, order, flips), geometry=geometry)


def reorient_array(array: NDArray[Any], geometry: Geometry) -> NDArray[Any]:
    """Permute and flip an array's axes as `reorient` does for a volume of this geometry."""
    return _permute_array(array, *body_axes(geometry))


def _permute_array(array: NDArray[Any], order: tuple[int, ...], flips: tuple[bool, ...]) -> NDArray[Any]:
    return array.transpose(order)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]


def restore_axes(array: NDArray[Any], geometry: Geometry) -> NDArray[Any]:
    """Undo `reorient` for an array.

    Parameters
    ----------
    array : ndarray, shape (z, y, x)
        On the grid of the reoriented volume.
    geometry : Geometry
        The geometry before reorienting.

    Returns
    -------
    ndarray
        On the grid of `geometry`, C-contiguous.
    """
    order, flips = body_axes(geometry)
    step = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
    return np.ascontiguousarray(np.transpose(array[step], np.argsort(order)))


def body_axes(geometry: Geometry) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Find the array axes that run along the body's axes.

    Parameters
    ----------
    geometry : Geometry
        The grid.

    Returns
    -------
    order : tuple of int
        The array axes closest to the directions to the head, the back and the left.
    flips : tuple of bool
        Whether each of these axes points the opposite way.
    """
    along = np.array(geometry.direction)[:, ::-1]  # each axis's component along head, back and left
    best = max(permutations(range(3)), key=lambda order: sum(abs(along[axis, k]) for k, axis in enumerate(order)))
    flips = tuple(bool(along[axis, k] < 0) for k, axis in enumerate(best))
    return cast("tuple[int, int, int]", best), cast("tuple[bool, bool, bool]", flips)
