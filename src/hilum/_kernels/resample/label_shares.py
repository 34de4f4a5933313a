"""Find labels in a volume, and measure how much of each voxel of a turned grid a label covers."""

from typing import Any

from hilum._kernels.compile.kernel import kernel

SAMPLES = 3  # along each edge of a voxel


@kernel()
def find_bounds(array: Any, bounds: Any) -> None:
    """Widen the bounds of each label: rows of first and last z, y, x, by value; they begin as large and -1."""
    for z in range(array.shape[0]):
        for y in range(array.shape[1]):
            row = array[z, y]
            previous = 0
            for x in range(row.size):
                value = int(row[x])
                if value == 0:
                    previous = 0
                    continue
                if value != previous:
                    bounds[value, 0] = min(bounds[value, 0], z)
                    bounds[value, 1] = max(bounds[value, 1], z)
                    bounds[value, 2] = min(bounds[value, 2], y)
                    bounds[value, 3] = max(bounds[value, 3], y)
                    bounds[value, 4] = min(bounds[value, 4], x)
                    previous = value
                bounds[value, 5] = max(bounds[value, 5], x)


@kernel()
def count_samples(source: Any, value: Any, step: Any, out: Any, begin: Any, end: Any) -> None:
    """Count the samples of each voxel of `out` that lie in a voxel of `source` with this value.

    `step` has three rows of four numbers: from an index (z, y, x, 1) of `out` to an index of `source`. A sample beyond
    the source counts as background.
    """
    depth, rows, columns = source.shape
    for z in range(begin, end):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                count = 0
                for k in range(SAMPLES * SAMPLES * SAMPLES):
                    dz = z + ((k // (SAMPLES * SAMPLES)) + 0.5) / SAMPLES - 0.5
                    dy = y + ((k // SAMPLES) % SAMPLES + 0.5) / SAMPLES - 0.5
                    dx = x + (k % SAMPLES + 0.5) / SAMPLES - 0.5
                    a = step[0, 0] * dz + step[0, 1] * dy + step[0, 2] * dx + step[0, 3] + 0.5
                    b = step[1, 0] * dz + step[1, 1] * dy + step[1, 2] * dx + step[1, 3] + 0.5
                    c = step[2, 0] * dz + step[2, 1] * dy + step[2, 2] * dx + step[2, 3] + 0.5
                    if a < 0.0 or b < 0.0 or c < 0.0 or a >= depth or b >= rows or c >= columns:
                        continue
                    if int(source[int(a), int(b), int(c)]) == value:
                        count += 1
                out[z, y, x] = count
