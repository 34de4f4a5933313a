"""Statistics of a lung mask, counted in one pass over the volume: in total, and for each block of voxels."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.bitmask.mask import Shape
from hilum._kernels.compile.kernel import kernel, read_only
from hilum._kernels.threads import run_slabs


class MaskStats(NamedTuple):
    """Statistics of a volume and a mask.

    Parameters
    ----------
    totals : ndarray of int64, shape (6 + len(limits),)
        Lowest and highest HU; voxels of label 1, of label 2, of both, and the sum of their HU; then for each limit
        the number of mask voxels up to it, on the sampled rows.
    hu : ndarray of int16, shape (cz, cy, cx)
        Mean of each block.
    right, inside, missed : ndarray of float32, shape (cz, cy, cx)
        Share of each block with label 1; with label 1 or 2; with air but no label.
    """

    totals: NDArray[np.int64]
    hu: NDArray[np.int16]
    right: NDArray[np.float32]
    inside: NDArray[np.float32]
    missed: NDArray[np.float32]


@kernel()
def _span(mask: Any) -> tuple[int, int]:
    """First voxel of a row with a label, and one past the last; 0 and 0 for a row without labels."""
    union = np.uint8(0)
    for x in range(mask.size):
        union |= mask[x]
    if union == 0:
        return 0, 0
    first, stop = 0, mask.size
    while mask[first] == 0:
        first += 1
    while mask[stop - 1] == 0:
        stop -= 1
    return first, stop


@kernel()
def _add_row(row: Any, mask: Any, span: tuple[int, int], totals: Any) -> None:
    """Add a row to the first six totals."""
    low, high = np.int16(32767), np.int16(-32768)
    for x in range(row.size):
        low, high = min(low, row[x]), max(high, row[x])
    totals[0], totals[1] = min(totals[0], low), max(totals[1], high)
    one, two, here = np.int32(0), np.int32(0), np.int32(0)
    for x in range(span[0], span[1]):
        first, second = mask[x] == 1, mask[x] == 2
        one += first
        two += second
        here += row[x] * np.int32(first | second)
    totals[2] += one
    totals[3] += two
    totals[4] += one + two
    totals[5] += here


@kernel()
def _add_sampled_row(row: Any, mask: Any, air: Any, span: tuple[int, int], sums: Any) -> None:
    """Add a row to the sums of each column of a block."""
    total, right, inside, missed = sums[0], sums[1], sums[2], sums[3]
    for x in range(row.size):
        total[x] += row[x]
        missed[x] += (row[x] <= air) & (mask[x] == 0)
    for x in range(span[0], span[1]):
        right[x] += mask[x] == 1
        inside[x] += (mask[x] == 1) | (mask[x] == 2)


@kernel()
def _add_counts(row: Any, mask: Any, limits: Any, span: tuple[int, int], lung: Any, counts: Any) -> None:
    """Add a row to the counts up to each limit; `lung` is scratch for its voxels in the lungs."""
    count = 0
    for x in range(span[0], span[1]):
        inside = (mask[x] == 1) | (mask[x] == 2)
        lung[count] = row[x]
        count += inside
    for k in range(limits.size):
        limit, dark = limits[k], np.int32(0)
        for x in range(count):
            dark += lung[x] <= limit
        counts[k] += dark


@kernel()
def _measure_mask(
    volume: Any, labels: Any, factors: Any, step: int, air: Any, limits: Any, blocks: Any, totals: Any, scratch: Any,
    start: int, stop: int,
) -> None:  # fmt: skip
    nz, ny, nx = volume.shape
    fz, fy, fx = factors
    hu, right, inside, missed = blocks
    sums, lung = scratch
    for cz in range(start, stop):
        plane_totals = totals[cz]
        for cy in range(hu.shape[1]):
            sums[:] = 0
            rows = 0
            for z in range(cz * fz, min(nz, cz * fz + fz)):
                for y in range(cy * fy, min(ny, cy * fy + fy)):
                    span = _span(labels[z, y])
                    _add_row(volume[z, y], labels[z, y], span, plane_totals)
                    if (z - cz * fz + y - cy * fy) % step == 0:
                        rows += 1
                        _add_sampled_row(volume[z, y], labels[z, y], air, span, sums)
                        _add_counts(volume[z, y], labels[z, y], limits, span, lung, plane_totals[6:])
            for cx in range(hu.shape[2]):
                total, one, both, dark = 0, 0, 0, 0
                x1 = min(nx, cx * fx + fx)
                for x in range(cx * fx, x1):
                    total += sums[0, x]
                    one += sums[1, x]
                    both += sums[2, x]
                    dark += sums[3, x]
                count = rows * (x1 - cx * fx)
                hu[cz, cy, cx] = total // count
                right[cz, cy, cx], inside[cz, cy, cx] = one / count, both / count
                missed[cz, cy, cx] = dark / count


def measure_mask(
    volume: NDArray[np.int16],
    labels: NDArray[np.uint8],
    factors: Shape,
    *,
    air: int,
    limits: tuple[int, ...],
    step: int = 1,
    workers: int = 1,
) -> MaskStats:
    """Measure a lung mask.

    Parameters
    ----------
    volume : ndarray of int16, shape (z, y, x), HU
        The voxels.
    labels : ndarray of uint8, shape (z, y, x)
        The lung mask.
    factors : tuple of int, (z, y, x)
        Voxels in a block along each axis; at most 60000 in all, so that the sum of a block fits an int32.
    air : int, HU
        Voxels are air up to this value.
    limits : tuple of int, HU
        The values that divide the counted ranges.
    step : int
        Blocks and limits are counted on every row (1), every second (2) or every third (3), shifted from plane to
        plane.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    MaskStats
    """
    shape = tuple(-(-n // f) for n, f in zip(volume.shape, factors, strict=True))
    blocks = (np.empty(shape, np.int16), *(np.empty(shape, np.float32) for _ in range(3)))
    totals = np.zeros((shape[0], 6 + len(limits)), np.int64)
    totals[:, 0], totals[:, 1] = 32767, -32768
    volume, labels = read_only(np.ascontiguousarray(volume)), read_only(np.ascontiguousarray(labels))
    bounds = np.array(limits, np.int16)

    def work(start: int, stop: int) -> None:
        scratch = np.empty((4, volume.shape[2]), np.int32), np.empty(volume.shape[2], np.int16)
        _measure_mask(volume, labels, factors, step, np.int16(air), bounds, blocks, totals, scratch, start, stop)

    run_slabs(work, shape[0], workers=workers)
    total = totals.sum(axis=0)
    total[:2] = totals[:, 0].min(), totals[:, 1].max()
    return MaskStats(total, *blocks)
