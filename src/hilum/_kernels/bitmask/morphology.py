"""Dilation, erosion, closing and opening of bit masks by an ellipsoid.

The structuring element is stored as one row along x for every (dz, dy): the row has ``half`` voxels on either side.
A dilation widens the rows of the mask once for each different ``half``, and joins the widened rows of all (dz, dy)
that have it. It works on whole planes of words at a time.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.bitmask.bits import bounding_box
from hilum._kernels.bitmask.mask import BitMask, Shape, Spacing
from hilum._kernels.compile.kernel import kernel
from hilum._kernels.threads import run_slabs

ROUNDING = 1e-9  # a squared distance may exceed the squared radius by this share: 5 * 0.7 mm counts as 3.5 mm


def ellipsoid(radius: float, spacing: Spacing, shape: Shape) -> NDArray[np.int64]:
    """Make the structuring element of all voxels whose centers lie within a radius of the center voxel.

    Parameters
    ----------
    radius : float
        In the unit of the spacing. Negative for none.
    spacing : tuple of float, (z, y, x)
        Infinity along an axis makes the ellipsoid flat.
    shape : tuple of int, (z, y, x)
        Of the volume; larger offsets are left out.

    Returns
    -------
    ndarray of int64, shape (n, 3)
        dz, dy and half the length along x, ordered by this half.
    """
    limit = radius * radius * (1 + ROUNDING)
    largest = [min(n - 1, math.floor(radius / s * (1 + ROUNDING))) for n, s in zip(shape, spacing, strict=True)]
    rows = []
    for dz in range(-largest[0], largest[0] + 1):
        for dy in range(-largest[1], largest[1] + 1):
            rest = limit - sum((d * s) ** 2 if d else 0.0 for d, s in ((dz, spacing[0]), (dy, spacing[1])))
            if rest < 0:
                continue
            half = min(largest[2], math.floor(math.sqrt(rest) / spacing[2]))
            rows.append((half, dz, dy))
    return np.array([(dz, dy, half) for half, dz, dy in sorted(rows)], np.int64).reshape(-1, 3)


SMALL = 1 << 22  # with fewer words to combine, threads cost more time than they save


@kernel()
def _widen_once(old: Any, new: Any, step: int, nw: int, tail: Any) -> None:
    """Widen the rows of a plane by less than a word on both sides; the plane is one flat row of words."""
    up, down = np.uint64(step), np.uint64(64 - step)
    inner = new[1:-1]
    before, here, after = old[:-2], old[1:-1], old[2:]
    # One vectorized pass over all words. Bits leak between rows there; the second loop repairs the ends of each row.
    for k in range(inner.size):
        inner[k] = here[k] | (here[k] << up) | (here[k] >> up) | (before[k] >> down) | (after[k] << down)
    for first in range(0, old.size, nw):
        end = first + nw - 1
        left, right = old[first], old[end]
        new[first] = left | (left << up) | (left >> up) | (old[first + 1] << down if nw > 1 else np.uint64(0))
        if nw > 1:
            new[end] = right | (right << up) | (right >> up) | (old[end - 1] >> down)
        new[end] &= tail


@kernel()
def widen(plane: Any, amount: int, tail: Any, spare: Any, nw: int) -> None:
    """Widen the rows of a plane, one flat row of words, by some voxels on both sides, in place; `spare` is scratch."""
    done = 0
    in_spare = False
    while done < amount:
        step = min(done + 1, amount - done, 63)  # a run cut off by the border is at least `done` + 1 voxels wide
        if in_spare:
            _widen_once(spare, plane, step, nw, tail)
        else:
            _widen_once(plane, spare, step, nw, tail)
        in_spare = not in_spare
        done += step
    if in_spare:
        for k in range(plane.size):
            plane[k] = spare[k]


@kernel()
def _dilate(
    wide: Any, element: Any, out: Any, flat: Any, spare: Any, rows: Any, low: int, tail: Any, start: int, stop: int
) -> None:
    """Compute the output planes ``start:stop``.

    `wide` is a copy of the mask's `rows` in the planes from `low` on, with one flat row of words for each plane. It is
    widened in place. `flat` holds `wide` and `out` in one dimension; `spare` has the size of a plane of `wide`.
    """
    ny, nw, high = out.shape[1], out.shape[2], low + wide.shape[0]
    flat_wide, flat_out = flat
    half = 0
    for i in range(element.shape[0]):
        if element[i, 2] > half:
            for z in range(wide.shape[0]):
                widen(wide[z], element[i, 2] - half, tail, spare, nw)
            half = element[i, 2]
        dz, dy = element[i, 0], element[i, 1]
        first, end = max(rows[0], dy), min(rows[1], ny + dy)
        length = (end - first) * nw
        if length <= 0:
            continue
        for z in range(max(start, low - dz), min(stop, high - dz)):
            target = flat_out[(z * ny + first - dy) * nw :]
            source = flat_wide[(z + dz - low) * wide.shape[1] + (first - rows[0]) * nw :]
            for k in range(length):
                target[k] |= source[k]


def dilate(mask: BitMask, element: NDArray[np.int64], *, workers: int = 1) -> BitMask:
    """Dilate a mask; outside the volume nothing is set.

    Parameters
    ----------
    mask : BitMask
        The voxels to dilate.
    element : ndarray of int64, shape (n, 3)
        A structuring element of `ellipsoid`, or another symmetric one.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    BitMask
    """
    out = BitMask.empty(mask.shape)
    box = bounding_box(mask)
    if box is None or not len(element):
        return out
    rows, planes = ((s.start, s.stop) for s in (box[1], box[0]))
    depth = int(element[:, 0].max())
    first, last = max(0, planes[0] - depth), min(mask.shape[0], planes[1] + depth)
    combined = (last - first) * (rows[1] - rows[0]) * mask.words.shape[2] * len(element)

    def work(start: int, stop: int) -> None:
        low, high = max(planes[0], start + first - depth), min(planes[1], stop + first + depth)
        if low < high:
            wide = mask.words[low:high, slice(*rows)].copy().reshape(high - low, -1)
            spare = np.empty(wide.shape[1], np.uint64)
            flat = wide.reshape(-1), out.words.reshape(-1)
            _dilate(wide, element, out.words, flat, spare, rows, low, mask.tail, start + first, stop + first)

    slabs = max(1, min(16, (last - first) // (2 * depth + 1)))  # each slab widens `depth` more planes on both sides
    run_slabs(work, last - first, workers=workers if combined > SMALL else 1, slabs=slabs)
    return out


def erode(mask: BitMask, element: NDArray[np.int64], *, workers: int = 1) -> BitMask:
    """Erode a mask; outside the volume everything counts as set. Otherwise as `dilate`."""
    box = bounding_box(mask)
    if box is None or not len(element):
        return BitMask(mask.words.copy(), mask.shape)
    near = mask.expand_box(box, _size(element))  # voxels farther away than the element's size change nothing
    out = BitMask.empty(mask.shape)
    out.words[near] = (~dilate(~mask.crop(near), element, workers=workers)).words
    return out


def _size(element: NDArray[np.int64], times: int = 1) -> Shape:
    """How many planes, rows and words a structuring element, used so many times, extends to each side."""
    planes, rows, voxels = (times * int(n) for n in element.max(axis=0))
    return planes, rows, (voxels + 63) // 64


def close(mask: BitMask, element: NDArray[np.int64], *, times: int = 1, workers: int = 1) -> BitMask:
    """Dilate, then erode, each with its own rule for the border of the volume.

    Parameters
    ----------
    mask, element
        As in `dilate`.
    times : int
        Number of dilations, and then of erosions. Two with half a ball cost half as much as one with the ball, and the
        result is nearly the same.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    BitMask
    """
    out, box = BitMask.empty(mask.shape), bounding_box(mask)
    if box is None or not len(element):
        return out
    # A closing stays in the bounding box, except where it fills the gap between the box and the border of the volume.
    near = mask.expand_box(box, _size(element, times))
    closed = mask.crop(near)
    for step in [dilate] * times + [erode] * times:
        closed = step(closed, element, workers=workers)
    result = tuple(
        slice(0 if n.start == 0 else s.start, size if n.stop == size else s.stop)
        for s, n, size in zip(box, near, mask.words.shape, strict=True)
    )
    inner = tuple(slice(r.start - n.start, r.stop - n.start) for r, n in zip(result, near, strict=True))
    out.words[result] = closed.words[inner]
    return out


def open_(mask: BitMask, element: NDArray[np.int64], *, workers: int = 1) -> BitMask:
    """Erode, then dilate: keep only what the structuring element fits into."""
    return dilate(erode(mask, element, workers=workers), element, workers=workers)


FACES = np.array([(-1, 0, 0), (0, -1, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1)], np.int64)  # a voxel and its six neighbors


def grow(masks: list[BitMask], allowed: BitMask, *, steps: int, planes: bool = False) -> list[BitMask]:
    """Grow several masks over the faces of allowed voxels, all at the same pace.

    Parameters
    ----------
    masks : list of BitMask
        Without common voxels.
    allowed : BitMask
        The voxels that may be reached.
    steps : int
        Number of voxels to grow by.
    planes : bool
        Whether to grow within the planes only.

    Returns
    -------
    list of BitMask
        A voxel that several masks reach in the same step belongs to the first of them.
    """
    grown = list(masks)
    element = FACES[FACES[:, 0] == 0] if planes else FACES
    free = allowed
    for mask in masks:
        free &= ~mask
    for _ in range(steps):
        for i, wider in enumerate([dilate(mask, element) for mask in grown]):
            new = wider & free
            grown[i] |= new
            free &= ~new
    return grown
