"""Blobs at the lung surface: the area that faces air, the ball fitted to it, and balls written into a mask."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.bitmask.mask import FACE_STEPS, BitMask, Spacing
from hilum._kernels.compile.kernel import kernel, read_only
from hilum._kernels.components.labeling import Runs

Floats = NDArray[np.float64]
Boxes = NDArray[np.int32]

BARE, FOOT = 0, 1  # columns of `surface_sums`, areas in mm2: toward air; toward what is neither air nor lung

_FIRST = 2


@kernel()
def _surface_sums(runs: Any, air: Any, lung: Any, nx: int, spacing: Any, corner: Any, sums: Any) -> None:
    first, start, stop, component = runs
    nz, ny = lung.shape[:2]
    volume = spacing[0] * spacing[1] * spacing[2]
    for row in range(first.size - 1):
        z, y = row // ny, row % ny
        for run in range(first[row], first[row + 1]):
            part, base = sums[component[run]], corner[component[run]]
            for x in range(start[run], stop[run]):
                for move in range(6):
                    dz, dy, dx = FACE_STEPS[move]
                    k, j, i = z + dz, y + dy, x + dx
                    if k < 0 or j < 0 or i < 0 or k >= nz or j >= ny or i >= nx:
                        continue
                    bit = np.uint64(1) << np.uint64(i & 63)
                    area = volume / spacing[move >> 1]
                    if not air[k, j, i >> 6] & bit:
                        if not lung[k, j, i >> 6] & bit:
                            part[1] += area
                        continue
                    part[0] += area
                    # The middle of the face, from the corner of the blob's box, mm.
                    a = (z - base[0] + 0.5 * dz) * spacing[0]
                    b = (y - base[1] + 0.5 * dy) * spacing[1]
                    c = (x - base[2] + 0.5 * dx) * spacing[2]
                    far = a * a + b * b + c * c
                    part[2] += area * a
                    part[3] += area * b
                    part[4] += area * c
                    part[5] += area * a * a
                    part[6] += area * a * b
                    part[7] += area * a * c
                    part[8] += area * b * b
                    part[9] += area * b * c
                    part[10] += area * c * c
                    part[11] += area * far * a
                    part[12] += area * far * b
                    part[13] += area * far * c
                    part[14] += area * far * far


def surface_sums(runs: Runs, boxes: Boxes, air: BitMask, lung: BitMask, spacing: Spacing) -> Floats:
    """Sum areas, and moments of the positions, over the faces of each blob.

    Parameters
    ----------
    runs : Runs
        The blobs.
    boxes : ndarray of int32, shape (number, 6)
        As `hilum._kernels.components.labeling.boxes` gives them.
    air, lung : BitMask
        A face toward air is bare. A face toward neither air nor lung belongs to the foot.
    spacing : tuple of float, (z, y, x), mm
        Distance of voxel centers.

    Returns
    -------
    ndarray of float64, shape (number, 15)
        Bare area, area of the foot, mm2; then sums over the bare area of z, y, x, of their six products, of
        z, y, x times the squared distance, and of the squared distance's square; in mm from the box's first voxel.
    """
    sums = np.zeros((runs.number, 15))
    corner = np.ascontiguousarray(boxes[:, :3])
    _surface_sums(runs.arrays, air.words, lung.words, runs.shape[2], np.array(spacing), corner, sums)
    return sums


def fit_balls(sums: Floats, boxes: Boxes, spacing: Spacing) -> Floats:
    """Fit a ball to the bare faces of each blob (Kasa's least squares).

    Parameters
    ----------
    sums : ndarray of float64, shape (number, 15)
        From `surface_sums`.
    boxes : ndarray of int32, shape (number, 6)
        The first and last voxel of each blob, (z, y, x, z, y, x).
    spacing : tuple of float, (z, y, x), mm
        Distance of voxel centers.

    Returns
    -------
    ndarray of float64, shape (number, 5)
        Center z, y, x in mm from the first voxel of the volume; radius, mm; root mean square distance of the faces
        from the ball, mm. Infinite where no ball fits.
    """
    found = np.full((len(sums), 5), np.inf)
    used = np.flatnonzero(sums[:, BARE] > 0)
    total = sums[used, BARE]
    s = sums[used, _FIRST:] / total[:, None]
    square = np.array([[s[:, 3], s[:, 4], s[:, 5]], [s[:, 4], s[:, 6], s[:, 7]], [s[:, 5], s[:, 7], s[:, 8]]])
    mean, cubic = s[:, :3].T, s[:, 9:12].T
    power = s[:, 3] + s[:, 6] + s[:, 8]
    spread = square - mean[:, None] * mean[None]
    right = cubic - mean * power
    matrix = np.moveaxis(spread, 2, 0)
    solvable = np.abs(np.linalg.det(matrix)) > 1e-6
    used, s, power = used[solvable], s[solvable], power[solvable]
    mean, right = mean[:, solvable], right[:, solvable]
    if not len(used):
        return found
    center = 0.5 * np.linalg.solve(matrix[solvable], right.T[:, :, None])[:, :, 0].T
    rest = power - 2 * (center * mean).sum(axis=0)
    radius = np.sqrt(np.maximum(rest + (center**2).sum(axis=0), 0))
    # The mean square of |p|^2 - 2 c p - rest, from the sums alone; near the surface it is 2 r times the gap.
    along = np.einsum("in,ijn,jn->n", center, spread[:, :, solvable], center)
    square_error = s[:, 12] - power**2 - 4 * (center * right).sum(axis=0) + 4 * along
    gap = np.sqrt(np.maximum(square_error, 0)) / np.maximum(2 * radius, 1e-6)
    found[used] = np.stack([*(center + (boxes[used, :3] * np.array(spacing)).T), radius, gap], axis=1)
    return found


@kernel()
def _span(center: float, half: float, step: float, n: int) -> tuple[int, int]:
    """First of n positions, `step` apart, that is within `half` of a center, and one past the last."""
    return max(0, int(np.ceil((center - half) / step))), min(n, int(np.floor((center + half) / step)) + 1)


@kernel()
def _row(ball: Any, spacing: Any, z: int, y: int, nx: int) -> tuple[int, int]:
    """First voxel of a row in a ball, and one past the last."""
    a, b = z * spacing[0] - ball[0], y * spacing[1] - ball[1]
    rest = ball[3] * ball[3] - a * a - b * b
    if rest < 0:
        return 0, 0
    return _span(ball[2], np.sqrt(rest), spacing[2], nx)


@kernel()
def _share_outside(words: Any, balls: Any, spacing: Any, nx: int, shares: Any) -> None:
    for n in range(balls.shape[0]):
        inside, outside = 0, 0
        first, last = _span(balls[n, 0], balls[n, 3], spacing[0], words.shape[0])
        for z in range(first, last):
            low, high = _span(balls[n, 1], balls[n, 3], spacing[1], words.shape[1])
            for y in range(low, high):
                start, stop = _row(balls[n], spacing, z, y, nx)
                for x in range(start, stop):
                    inside += 1
                    outside += not words[z, y, x >> 6] & (np.uint64(1) << np.uint64(x & 63))
        shares[n] = outside / inside if inside else 1.0


def share_outside(mask: BitMask, balls: Floats, spacing: Spacing) -> Floats:
    """Measure the share of each ball's voxels that is not in a mask.

    Parameters
    ----------
    mask : BitMask
        The voxels that count as inside.
    balls : ndarray of float64, shape (n, 4 or more)
        Center z, y, x and radius, mm.
    spacing : tuple of float, (z, y, x), mm
        Distance of voxel centers.

    Returns
    -------
    ndarray of float64, shape (n,)
        1 for a ball without voxels.
    """
    shares = np.ones(len(balls))
    _share_outside(mask.words, np.ascontiguousarray(balls), np.array(spacing), mask.shape[2], shares)
    return shares


@kernel()
def _draw(words: Any, hu: Any, balls: Any, spacing: Any, limit: int) -> None:
    for n in range(balls.shape[0]):
        first, last = _span(balls[n, 0], balls[n, 3], spacing[0], hu.shape[0])
        for z in range(first, last):
            low, high = _span(balls[n, 1], balls[n, 3], spacing[1], hu.shape[1])
            for y in range(low, high):
                start, stop = _row(balls[n], spacing, z, y, hu.shape[2])
                for x in range(start, stop):
                    if hu[z, y, x] <= limit:
                        words[z, y, x >> 6] |= np.uint64(1) << np.uint64(x & 63)


def draw_balls(mask: BitMask, hu: NDArray[np.int16], balls: Floats, spacing: Spacing, *, limit: int) -> None:
    """Add balls to a mask where the volume is not brighter than a limit.

    Parameters
    ----------
    mask : BitMask
        Changed in place.
    hu : ndarray of int16, shape (z, y, x), HU
        The volume.
    balls : ndarray of float64, shape (n, 4 or more)
        Center z, y, x and radius, mm.
    spacing : tuple of float, (z, y, x), mm
        Distance of voxel centers.
    limit : int, HU
        The brightest value that is added.
    """
    _draw(mask.words, read_only(hu), np.ascontiguousarray(balls), np.array(spacing), limit)
