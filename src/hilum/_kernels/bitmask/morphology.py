"""Dilation and erosion of sets of voxels by an ellipsoid, and other neighborhood work, on bits.

An ellipsoid is a pile of rods along x: for every (dz, dy) inside it the rod reaches ``half`` voxels either way.
Dilating a set is then, for every different length of rod, widening each row once and joining the widened rows of
all (dz, dy) with that length: whole planes of words at a time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from hilum._kernels.bitmask.bits import box, complement, margin, tail_mask
from hilum._kernels.compile.kernel import kernel
from hilum._kernels.threads import run_slabs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum._kernels.bitmask.bits import Bits, Shape

SLACK = 1e-9
"""Share by which a squared distance may exceed the squared radius: 5 * 0.7 mm is no less than 3.5 mm."""


def ellipsoid(radius: float, spacing: tuple[float, float, float], shape: Shape) -> NDArray[np.int64]:
    """The rods of all voxels whose centers lie within a distance of the center voxel's.

    Parameters
    ----------
    radius : float
        In the unit of the spacing. Negative for none.
    spacing : tuple of float, (z, y, x)
        Infinity along an axis keeps the ellipsoid flat.
    shape : tuple of int, (z, y, x)
        Offsets that reach beyond a volume of this shape are left out.

    Returns
    -------
    ndarray of int64, shape (n, 3)
        dz, dy and the half length along x, ordered by half length.
    """
    limit = radius * radius * (1 + SLACK)
    reach = [min(n - 1, math.floor(radius / s * (1 + SLACK))) for n, s in zip(shape, spacing, strict=True)]
    rods = []
    for dz in range(-reach[0], reach[0] + 1):
        for dy in range(-reach[1], reach[1] + 1):
            rest = limit - sum((d * s) ** 2 if d else 0.0 for d, s in ((dz, spacing[0]), (dy, spacing[1])))
            if rest < 0:
                continue
            half = min(reach[2], math.floor(math.sqrt(rest) / spacing[2]))
            rods.append((half, dz, dy))
    return np.array([(dz, dy, half) for half, dz, dy in sorted(rods)], np.int64).reshape(-1, 3)


SMALL = 1 << 22
"""Words of work below which threads cost more than they bring."""


@kernel()
def _widen_once(old: Any, new: Any, step: int, nw: int, last: Any) -> None:
    """Widen the rows of a plane, given as one row of words, by less than a word on both sides."""
    up, down = np.uint64(step), np.uint64(64 - step)
    inner = new[1:-1]
    before, here, after = old[:-2], old[1:-1], old[2:]
    # One pass over all words, as wide as the processor can; the ends of rows, where other rows leak in, come after.
    for k in range(inner.size):
        inner[k] = here[k] | (here[k] << up) | (here[k] >> up) | (before[k] >> down) | (after[k] << down)
    for first in range(0, old.size, nw):
        end = first + nw - 1
        head, tail = old[first], old[end]
        new[first] = head | (head << up) | (head >> up) | (old[first + 1] << down if nw > 1 else np.uint64(0))
        if nw > 1:
            new[end] = tail | (tail << up) | (tail >> up) | (old[end - 1] >> down)
        new[end] &= last


@kernel()
def widen(here: Any, amount: int, last: Any, room: Any, nw: int) -> None:
    """Widen the rows of a plane by an amount of voxels on both sides, in place; `here` is one row of all its words."""
    reached = 0
    inside = False
    while reached < amount:
        step = min(reached + 1, amount - reached, 63)  # a run cut off by the border is no wider than this
        if inside:
            _widen_once(room, here, step, nw, last)
        else:
            _widen_once(here, room, step, nw, last)
        inside = not inside
        reached += step
    if inside:
        for k in range(here.size):
            here[k] = room[k]


@kernel()
def _dilate(
    wide: Any, rods: Any, out: Any, flat: Any, room: Any, rows: Any, low: int, last: Any, start: int, stop: int
) -> None:
    """The output planes ``start:stop``; `wide`, a copy to work in, is the set's planes from `low` on, in `rows`.

    `wide` has a row of words for each plane; `flat` is both anew, in one dimension; `room` has space for a plane.
    """
    ny, nw, high = out.shape[1], out.shape[2], low + wide.shape[0]
    flat_wide, flat_out = flat
    reached = 0
    for i in range(rods.shape[0]):
        if rods[i, 2] > reached:
            for z in range(wide.shape[0]):
                widen(wide[z], rods[i, 2] - reached, last, room, nw)
            reached = rods[i, 2]
        dz, dy = rods[i, 0], rods[i, 1]
        first, end = max(rows[0], dy), min(rows[1], ny + dy)
        length = (end - first) * nw
        if length <= 0:
            continue
        for z in range(max(start, low - dz), min(stop, high - dz)):
            target = flat_out[(z * ny + first - dy) * nw :]
            source = flat_wide[(z + dz - low) * wide.shape[1] + (first - rows[0]) * nw :]
            for k in range(length):
                target[k] |= source[k]


def dilate(bits: Bits, nx: int, rods: NDArray[np.int64], *, workers: int = 0) -> Bits:
    """Dilate a set by a pile of rods; outside the volume there is nothing.

    Parameters
    ----------
    bits : ndarray of uint64, shape (z, y, ceil(x / 64))
    nx : int
    rods : ndarray of int64, shape (n, 3)
        As `ellipsoid` gives them; symmetric.
    workers : int

    Returns
    -------
    ndarray of uint64
    """
    out = np.zeros(bits.shape, np.uint64)
    inside = box(bits)
    if inside is None or not len(rods):
        return out
    rows, planes = ((s.start, s.stop) for s in (inside[1], inside[0]))
    reach = int(rods[:, 0].max())
    first, last = max(0, planes[0] - reach), min(len(bits), planes[1] + reach)
    words = (last - first) * (rows[1] - rows[0]) * bits.shape[2] * len(rods)

    def work(start: int, stop: int) -> None:
        low, high = max(planes[0], start + first - reach), min(planes[1], stop + first + reach)
        if low < high:
            wide = bits[low:high, slice(*rows)].copy().reshape(high - low, -1)
            room = np.empty(wide.shape[1], np.uint64)
            flat = wide.reshape(-1), out.reshape(-1)
            _dilate(wide, rods, out, flat, room, rows, low, tail_mask(nx), start + first, stop + first)

    run_slabs(
        work,
        last - first,
        workers=workers if words > SMALL else 1,
        slabs=max(1, min(16, (last - first) // (2 * reach + 1))),  # the reach is widened once more by each slab
    )
    return out


def erode(bits: Bits, nx: int, rods: NDArray[np.int64], *, workers: int = 0) -> Bits:
    """Erode a set by a pile of rods; what lies outside the volume counts as set.

    Parameters
    ----------
    bits : ndarray of uint64, shape (z, y, ceil(x / 64))
    nx : int
    rods : ndarray of int64, shape (n, 3)
        As `ellipsoid` gives them; symmetric.
    workers : int

    Returns
    -------
    ndarray of uint64
    """
    out = np.zeros_like(bits)
    inside = box(bits)
    if inside is None or not len(rods):
        return bits | out
    # What lies farther from the set than the rods reach has no part in it.
    near = margin(inside, _reach(rods), bits.shape)
    length = min(nx, 64 * near[2].stop) - 64 * near[2].start
    others = complement(np.ascontiguousarray(bits[near]), length)
    out[near] = complement(dilate(others, length, rods, workers=workers), length)
    return out


def _reach(rods: NDArray[np.int64], times: int = 1) -> tuple[int, int, int]:
    """How many planes, rows and words the rods reach."""
    planes, rows, voxels = (times * int(n) for n in rods.max(axis=0))
    return planes, rows, (voxels + 63) // 64


def close(bits: Bits, nx: int, rods: NDArray[np.int64], *, times: int = 1, workers: int = 0) -> Bits:
    """Dilate, then erode, each with its own view of the border as `dilate` and `erode` have it.

    Parameters
    ----------
    bits : ndarray of uint64, shape (z, y, ceil(x / 64))
    nx : int
    rods : ndarray of int64, shape (n, 3)
        As `ellipsoid` gives them; symmetric.
    times : int
        How many dilations, and then erosions: two by half a ball cost half of one by the ball, and do nearly the same.
    workers : int

    Returns
    -------
    ndarray of uint64
    """
    out = np.zeros_like(bits)
    inside = box(bits)
    if inside is None or not len(rods):
        return out
    # A closing stays within the box of the set, or fills the gap to the border of the volume where the rods reach
    # it; the work needs the reach of the rods around it, and no more.
    near = margin(inside, _reach(rods, times), bits.shape)
    length = min(nx, 64 * near[2].stop) - 64 * near[2].start
    closed = np.ascontiguousarray(bits[near])
    for step in [dilate] * times + [erode] * times:
        closed = step(closed, length, rods, workers=workers)
    kept = tuple(
        slice(0 if n.start == 0 else s.start, size if n.stop == size else s.stop)
        for s, n, size in zip(inside, near, bits.shape, strict=True)
    )
    out[kept] = closed[tuple(slice(k.start - n.start, k.stop - n.start) for k, n in zip(kept, near, strict=True))]
    return out


def open_(bits: Bits, nx: int, rods: NDArray[np.int64], *, workers: int = 0) -> Bits:
    """What a pile of rods fits into: erode, then dilate, with the borders as `erode` and `dilate` have them."""
    return dilate(erode(bits, nx, rods, workers=workers), nx, rods, workers=workers)


FACES = np.array([(-1, 0, 0), (0, -1, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1)], np.int64)
"""The rods of a voxel and the six that share a face with it."""


def grow(sets: list[Bits], allowed: Bits, nx: int, *, steps: int, planes: bool = False) -> list[Bits]:
    """Grow several sets over the faces of allowed voxels, all at the same pace.

    Parameters
    ----------
    sets : list of ndarray of uint64, shape (z, y, ceil(x / 64))
        Without common voxels.
    allowed : ndarray of uint64
    nx : int
    steps : int
        How many voxels far.
    planes : bool
        Whether every plane is taken for itself.

    Returns
    -------
    list of ndarray of uint64
        A voxel reached by several sets in the same step belongs to the first of them.
    """
    grown = [part.copy() for part in sets]
    rods = FACES[FACES[:, 0] == 0] if planes else FACES
    free = allowed & ~np.bitwise_or.reduce(grown)
    for _ in range(steps):
        for part, wider in zip(grown, [dilate(part, nx, rods, workers=1) for part in grown], strict=True):
            new = wider & free
            np.bitwise_or(part, new, out=part)
            free &= ~new
    return grown


@kernel()
def _nearest(labels: Any, places: Any, offsets: Any, ranks: Any, found: Any, start: int, stop: int) -> None:
    nz, ny, nx = labels.shape
    for i in range(start, stop):
        best, rank = 0, -1
        for k in range(offsets.shape[0]):
            if best and ranks[k] != rank:
                break
            z, y, x = places[i, 0] + offsets[k, 0], places[i, 1] + offsets[k, 1], places[i, 2] + offsets[k, 2]
            if z < 0 or y < 0 or x < 0 or z >= nz or y >= ny or x >= nx:
                continue
            label = labels[z, y, x]
            if label and (best == 0 or label < best):
                best, rank = label, ranks[k]
        found[i] = best


def nearest_label(
    labels: NDArray[np.uint8],
    places: NDArray[np.int64],
    rods: NDArray[np.int64],
    spacing: tuple[float, float, float],
    *,
    workers: int = 0,
) -> NDArray[np.uint8]:
    """The label nearest to each of some voxels; of labels at the same distance the lowest.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x)
    places : ndarray of int64, shape (n, 3)
    rods : ndarray of int64, shape (m, 3)
        Where to look, as `ellipsoid` gives it.
    spacing : tuple of float, (z, y, x)
    workers : int

    Returns
    -------
    ndarray of uint8, shape (n,)
        0 where no label is in reach.
    """
    offsets = np.array([(dz, dy, dx) for dz, dy, half in rods.tolist() for dx in range(-half, half + 1)], np.int64)
    far = ((offsets * np.array(spacing)) ** 2).sum(axis=1)
    order = np.argsort(far, kind="stable")
    gaps = np.diff(far[order]) > SLACK * far.max()
    ranks = np.concatenate([[0], np.cumsum(gaps)]).astype(np.int64)
    found = np.zeros(len(places), np.uint8)
    labels = np.ascontiguousarray(labels).view()
    labels.flags.writeable = False
    run_slabs(lambda a, b: _nearest(labels, places, offsets[order], ranks, found, a, b), len(places), workers=workers)
    return found
