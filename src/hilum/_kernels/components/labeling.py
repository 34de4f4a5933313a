"""Connected components of bit masks: runs of voxels along x, joined by union-find.

1. The bits of a row become runs ``[start, stop)``. A row of a chest has about ten.
2. A run is joined with the runs that it touches in the rows before it, slab by slab on threads.
3. The seams between slabs are joined.
4. A parent never comes after its child, so one pass numbers the components in raster order of their first voxels.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.bitmask.bits import count_ones, count_trailing_zeros
from hilum._kernels.bitmask.mask import BitMask, Shape
from hilum._kernels.compile.kernel import kernel
from hilum._kernels.threads import run_slabs


class Runs(NamedTuple):
    """A run-length encoded set of voxels: its runs along x, and the component of each run.

    Parameters
    ----------
    shape : tuple of int, (z, y, x)
        Number of voxels of the volume.
    first : ndarray of int64, shape (z * y + 1,)
        Index of the first run of each row; row ``z * ny + y``.
    start, stop : ndarray of int32, shape (n,)
        First voxel of a run, and one past its last.
    component : ndarray of int32, shape (n,)
        From 0, in raster order of the components' first voxels.
    number : int
        Number of components.
    """

    shape: Shape
    first: NDArray[np.int64]
    start: NDArray[np.int32]
    stop: NDArray[np.int32]
    component: NDArray[np.int32]
    number: int

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """The runs as an argument of kernels: first, start, stop, component."""
        return self.first, self.start, self.stop, self.component


@kernel()
def _count_runs(words: Any, first: Any, begin: int, end: int) -> None:
    for row in range(begin, end):
        carry = np.uint64(0)
        changes = np.uint64(0)
        for j in range(words.shape[1]):
            word = words[row, j]
            changes += count_ones(word ^ ((word << np.uint64(1)) | carry))
            carry = word >> np.uint64(63)
        first[row + 1] = np.int64(changes + carry) >> 1


@kernel()
def _find_runs(words: Any, runs: Any, begin: int, end: int, nx: int) -> None:
    first, start, stop, parent = runs
    for row in range(begin, end):
        run = first[row]
        if run == first[row + 1]:
            continue
        inside = False
        carry = np.uint64(0)
        for j in range(words.shape[1]):
            word = words[row, j]
            change = word ^ ((word << np.uint64(1)) | carry)
            carry = word >> np.uint64(63)
            while change != np.uint64(0):
                x = 64 * j + np.int64(count_trailing_zeros(change))
                change &= change - np.uint64(1)
                if inside:
                    stop[run] = x
                    run += 1
                else:
                    start[run] = x
                    parent[run] = run
                inside = not inside
        if inside:
            stop[run] = nx


@kernel()
def _root(parent: Any, run: int) -> int:
    while parent[run] != run:
        parent[run] = parent[parent[run]]
        run = parent[run]
    return run


@kernel()
def _join_rows(runs: Any, row: int, other: int, gap: int) -> None:
    """Join the runs of two rows that overlap or, with gap 1, touch at a corner."""
    first, start, stop, parent = runs
    a, a_end = first[row], first[row + 1]
    b, b_end = first[other], first[other + 1]
    while a < a_end and b < b_end:
        if start[a] < stop[b] + gap and start[b] < stop[a] + gap:
            u, v = _root(parent, a), _root(parent, b)
            if u < v:
                parent[v] = u
            elif v < u:
                parent[u] = v
        if stop[a] < stop[b]:
            a += 1
        else:
            b += 1


@kernel()
def _join_back(runs: Any, ny: int, planes: Any, corners: bool, in_plane: bool) -> None:
    """Join the rows of some planes with each other (`in_plane`), or with those of the plane before."""
    gap, first = 1 if corners else 0, runs[0]
    for z in planes:
        for y in range(ny):
            row = z * ny + y
            if first[row] == first[row + 1]:
                continue
            if in_plane:
                if y > 0:
                    _join_rows(runs, row, row - 1, gap)
                continue
            _join_rows(runs, row, row - ny, gap)
            if corners:
                if y > 0:
                    _join_rows(runs, row, row - ny - 1, gap)
                if y < ny - 1:
                    _join_rows(runs, row, row - ny + 1, gap)


@kernel()
def _number(parent: Any, component: Any) -> int:
    count = 0
    for run in range(parent.size):
        if parent[run] == run:
            component[run] = count
            count += 1
        else:
            component[run] = component[parent[run]]
    return count


@kernel()
def _sizes(start: Any, stop: Any, component: Any, sizes: Any) -> None:
    for run in range(start.size):
        sizes[component[run]] += stop[run] - start[run]


@kernel()
def _boxes(runs: Any, ny: int, boxes: Any) -> None:
    first, start, stop, component = runs
    for row in range(first.size - 1):
        z, y = row // ny, row % ny
        for run in range(first[row], first[row + 1]):
            b = boxes[component[run]]
            b[0], b[3] = min(b[0], z), max(b[3], z + 1)
            b[1], b[4] = min(b[1], y), max(b[4], y + 1)
            b[2], b[5] = min(b[2], start[run]), max(b[5], stop[run])


@kernel()
def _touching_sides(runs: Any, ny: int, nx: int, touching: Any) -> None:
    first, start, stop, component = runs
    for plane in range(0, first.size - 1, ny):
        begin, end = first[plane], first[plane + ny]
        for run in range(begin, end):
            if start[run] == 0 or stop[run] == nx:
                touching[component[run]] = True
        for run in range(begin, first[plane + 1]):
            touching[component[run]] = True
        for run in range(first[plane + ny - 1], end):
            touching[component[run]] = True


def find_components(mask: BitMask, *, corners: bool, planes: bool = False, workers: int = 1) -> Runs:
    """Find the connected components of a bit mask.

    Parameters
    ----------
    mask : BitMask
        The voxels to connect.
    corners : bool
        Whether voxels that share an edge or a corner are connected (26 neighbors, 8 in a plane), or only those that
        share a face (6, or 4 in a plane).
    planes : bool
        Whether components end at each plane: nothing is connected along z.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    Runs
    """
    nz, ny, nx = mask.shape
    rows = mask.words.reshape(nz * ny, -1)
    first = np.zeros(nz * ny + 1, np.int64)
    run_slabs(lambda a, b: _count_runs(rows, first, a * ny, b * ny), nz, workers=workers)
    np.cumsum(first, out=first)
    start, stop, parent, component = (np.empty(int(first[-1]), np.int32) for _ in range(4))
    parts = first, start, stop, parent
    slab_starts: list[int] = []

    def slab(a: int, b: int) -> None:
        _find_runs(rows, parts, a * ny, b * ny, nx)
        _join_back(parts, ny, np.arange(a, b), corners, True)
        if not planes:
            _join_back(parts, ny, np.arange(a + 1, b), corners, False)
            slab_starts.append(a)

    run_slabs(slab, nz, workers=workers)
    _join_back(parts, ny, np.array(sorted(slab_starts)[1:], np.int64), corners, False)
    return Runs(mask.shape, first, start, stop, component, int(_number(parent, component)))


def sizes(runs: Runs) -> NDArray[np.int64]:
    """Count the voxels of each component; shape (number,)."""
    out = np.zeros(runs.number, np.int64)
    _sizes(runs.start, runs.stop, runs.component, out)
    return out


def boxes(runs: Runs) -> NDArray[np.int32]:
    """Bounding box of each component, shape (number, 6): first z, y, x, and one past the last z, y, x."""
    out = np.zeros((runs.number, 6), np.int32)
    out[:, :3] = np.iinfo(np.int32).max
    _boxes(runs.arrays, runs.shape[1], out)
    return out


def touching_sides(runs: Runs) -> NDArray[np.bool_]:
    """Which components touch one of the four sides of their plane, shape (number,)."""
    touching = np.zeros(runs.number, np.bool_)
    _touching_sides(runs.arrays, runs.shape[1], runs.shape[2], touching)
    return touching
