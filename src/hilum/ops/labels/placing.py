"""Bring a label map to another grid, once and by world coordinates.

The nearest voxel alone changes the volume of a small label by some percent and moves it by a part of a voxel. So with
order 1 a label fills the voxels of which it covers most, as many as its volume needs, with its centroid in place
(`hilum.ops.labels.filling`). A voxel that two labels fill goes to the one that covers more.
"""

from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.resample.spline import nearest
from hilum.errors import InputError
from hilum.geometry import Box, Geometry
from hilum.ops.arguments import expect, geometry_of
from hilum.ops.labels.filling import Filling, fill_greatest
from hilum.ops.labels.shares import Axis, label_extents, paint, parallel_shares, sampled_shares
from hilum.ops.regrid import find_turn, regrid_mask
from hilum.ops.reorient import permute
from hilum.scan import LabelMap, Scan
from hilum.volume import Mask, Volume

_PARALLEL = 0.01  # voxels by which parallel axes may drift apart from one end of the grid to the other
_LATTICE = 1e-4  # voxels by which the voxels of two grids may be apart and still be the same

_Axes = tuple[Axis, Axis, Axis]


@dataclass(frozen=True, eq=False)
class Placed:
    """A label map on another grid.

    Parameters
    ----------
    label_map : LabelMap
        The labels on the new grid.
    lost : dict of str to float
        Volumes in ml of the labels that lie in the grid but are too small for its voxels.
    outside : dict of str to float
        Volumes in ml of the parts of labels that lie outside the grid.

    Examples
    --------
    >>> import hilum
    >>> import numpy as np
    >>> mask = hilum.Mask(np.ones((4, 4, 4), np.uint8), hilum.Geometry((4, 4, 4), (1.0, 1.0, 1.0)))
    >>> tumor = hilum.LabelMap(mask, {"tumor": 1})
    >>> placed = hilum.place_label_map(tumor, hilum.Geometry((2, 4, 4), (1.0, 1.0, 1.0)))
    >>> placed.lost, placed.outside
    ({}, {'tumor': 0.032})
    """

    label_map: LabelMap
    lost: dict[str, float]
    outside: dict[str, float]


def place_label_map(
    label_map: LabelMap, geometry: Geometry | Volume | Scan, *, order: Literal[0, 1] = 1, workers: int = 0
) -> Placed:
    """Bring a label map to a grid.

    Parameters
    ----------
    label_map : LabelMap
        On any grid.
    geometry : Geometry, Volume or Scan
        The new grid, or what lies on it.
    order : {1, 0}, default 1
        1 keeps the volume of each label to half a voxel and its centroid, as far as it lies in the grid; 0 takes the
        label at each voxel's center.
    workers : int, default 0
        Threads; 0 for one per available core. The result does not depend on it.

    Returns
    -------
    Placed

    Raises
    ------
    InputTypeError
        If an argument has another type; a `Mask` needs names: ``LabelMap(mask, {"tumor": 1})``.
    InputError
        If there is no such order.

    Examples
    --------
    >>> import hilum
    >>> import numpy as np
    >>> mask = hilum.Mask(np.ones((4, 4, 4), np.uint8), hilum.Geometry((4, 4, 4), (1.0, 1.0, 1.0)))
    >>> tumor = hilum.LabelMap(mask, {"tumor": 1})
    >>> fine = hilum.Geometry((10, 10, 10), (0.5, 0.5, 0.5), origin=(-0.5, -0.5, -0.5))
    >>> round(hilum.place_label_map(tumor, fine).label_map.mask.volume_ml(), 6)
    0.064
    """
    do = "hilum.LabelMap(mask, {'tumor': 1}) names the labels of a mask"
    label_map = expect(label_map, LabelMap, "label map", do=do)
    if order not in (0, 1):
        raise InputError(f"order is {order!r}, expected 1 (by volume) or 0 (nearest)", code="option")
    geometry = geometry_of(geometry)
    found = label_extents(label_map.mask, workers=workers)
    mask, axes, boxes = _turn(label_map.mask, geometry, {value: found[value].box for value in found})
    fillings: dict[int, Filling] = {}
    if axes is not None and all(map(_is_same, axes)):
        out = _copy(mask.array, axes, geometry)
    elif order == 0:
        out = regrid_mask(mask, geometry).array if axes is None else _nearest(mask.array, axes, workers)
    else:
        out, fillings = _fill(mask, axes, geometry, boxes, workers)
    lost, outside = {}, {}
    for name, value in label_map.values.items():
        if (box := boxes.get(value)) is None:
            continue
        volume = found[value].voxels * mask.geometry.voxel_volume
        if filling := fillings.get(value):
            kept, inside = filling.whole + len(filling.parts), filling.volume * geometry.voxel_volume
        else:
            kept = int(np.count_nonzero(out == value))
            inside = kept * geometry.voxel_volume
        if not kept and (inside > 0 or bool(geometry.contains(_middle(mask, box)))):
            lost[name] = volume / 1000
        elif volume - inside > mask.geometry.voxel_volume / 2 and _leaves(mask, box, geometry):
            outside[name] = (volume - inside) / 1000
    return Placed(LabelMap(Mask(out, geometry, mask.names), label_map.values), lost, outside)


def _turn(mask: Mask, geometry: Geometry, boxes: dict[int, Box]) -> tuple[Mask, _Axes | None, dict[int, Box]]:
    """Turn a mask and boxes in it so that its axes run as those of a grid, if they are parallel; else leave them."""
    turn = find_turn(mask.geometry, geometry, drift=_PARALLEL)
    if turn is None:
        return mask, None, boxes
    turned = permute(mask, *turn)
    step = turned.geometry.inverse_affine @ geometry.affine
    axes = (Axis(float(step[k, k]), float(np.round(step[k, 3], 9)), geometry.shape[k]) for k in range(3))
    return turned, cast("_Axes", tuple(axes)), {value: _turn_box(boxes[value], mask, *turn) for value in boxes}


def _turn_box(box: Box, mask: Mask, order: tuple[int, ...], flips: tuple[bool, ...]) -> Box:
    """A box of a mask, after `permute`."""
    ends = [mask.shape[axis] for axis in order]
    sides = [box[axis] for axis in order]
    z, y, x = (
        slice(end - side.stop, end - side.start) if flip else side
        for side, end, flip in zip(sides, ends, flips, strict=True)
    )
    return z, y, x


def _is_same(axis: Axis) -> bool:
    """Whether the voxels of both grids coincide along an axis."""
    return abs(axis.step - 1) * axis.size <= _LATTICE and abs(axis.first - round(axis.first)) <= _LATTICE


def _copy(array: NDArray[np.uint8], axes: _Axes, geometry: Geometry) -> NDArray[np.uint8]:
    """The labels on another part of their own lattice."""
    shifts = [round(axis.first) for axis in axes]
    if not any(shifts) and array.shape == geometry.shape:
        return np.ascontiguousarray(array)
    out = np.zeros(geometry.shape, np.uint8)
    ends = [min(n, m - shift) for n, m, shift in zip(geometry.shape, array.shape, shifts, strict=True)]
    there = [slice(max(0, -shift), max(0, -shift, end)) for shift, end in zip(shifts, ends, strict=True)]
    here = tuple(slice(s.start + shift, s.stop + shift) for s, shift in zip(there, shifts, strict=True))
    out[tuple(there)] = array[here]
    return out


def _nearest(array: NDArray[np.uint8], axes: _Axes, workers: int) -> NDArray[np.uint8]:
    """The label at the center of each voxel, the upper one of two equally near."""
    positions = [np.floor(axis.step * np.arange(axis.size) + axis.first + 0.5).astype(np.int64) for axis in axes]
    clipped = [p.clip(0, n - 1) for p, n in zip(positions, array.shape, strict=True)]
    out: NDArray[np.uint8] = nearest(array, *clipped, workers=workers)
    for k, (p, index) in enumerate(zip(positions, clipped, strict=True)):
        np.moveaxis(out, k, 0)[p != index] = 0
    return out


def _fill(
    mask: Mask, axes: _Axes | None, geometry: Geometry, boxes: dict[int, Box], workers: int
) -> tuple[NDArray[np.uint8], dict[int, Filling]]:
    """Fill each label."""
    out = np.zeros(geometry.shape, np.uint8)
    fillings: dict[int, Filling] = {}
    index, share, owner = [], [], []
    for value, box in reversed(boxes.items()):  # of equal shares the last one written counts: the smallest value
        exact = None
        if axes is None:
            there, shares = sampled_shares(mask, value, box, geometry, workers=workers)
            if not _leaves(mask, box, geometry):
                exact = _measure(mask, value, box, geometry, there)
        else:
            there, shares = parallel_shares(mask.array, value, box, axes, workers=workers)
        fillings[value] = filling = fill_greatest(shares, geometry.spacing, exact=exact)
        paint(shares, out[there], value, workers=workers)
        where = np.unravel_index(filling.parts, shares.shape)
        where = tuple(part + side.start for part, side in zip(where, there, strict=True))
        index.append(np.ravel_multi_index(where, out.shape))
        share.append(shares.reshape(-1)[filling.parts])
        owner.append(np.full(len(filling.parts), value, np.uint8))
    if index:
        order = np.argsort(np.concatenate(share), kind="stable")
        at, owners, flat = np.concatenate(index)[order], np.concatenate(owner)[order], out.reshape(-1)
        free = flat[at] == 0
        flat[at[free]] = owners[free]
    return out, fillings


def _measure(mask: Mask, value: int, box: Box, geometry: Geometry, there: Box) -> tuple[float, NDArray[np.float64]]:
    """The volume of a label in voxels of a grid, and its centroid (z, y, x) in a box of the grid."""
    index = np.argwhere(mask.array[box] == value)
    middle = mask.geometry.index_to_world(index.mean(axis=0) + [side.start for side in box])
    centroid = geometry.world_to_index(middle) - [side.start for side in there]
    return len(index) * mask.geometry.voxel_volume / geometry.voxel_volume, centroid


def _middle(mask: Mask, box: Box) -> NDArray[np.float64]:
    return mask.geometry.index_to_world([(side.start + side.stop - 1) / 2 for side in box])


def _leaves(mask: Mask, box: Box, geometry: Geometry) -> bool:
    """Whether a corner of a label's box lies outside the grid."""
    corners = np.array(np.meshgrid(*((side.start, side.stop - 1) for side in box))).reshape(3, 8).T
    return not geometry.contains(mask.geometry.index_to_world(corners)).all()
