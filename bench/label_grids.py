"""Measure how far a label's volume and centroid change when it is brought to 1 mm, with either order.

    python bench/label_grids.py [--number 300] [--seed 1]

Ellipsoids of random size on random grids: slices of 0.6 to 8 mm, half of the grids turned, every fourth output grid one
of its own. The truth is the label on its own grid. Labels below 1 ml do not count.
"""

from __future__ import annotations

import argparse

import numpy as np

from hilum.geometry import Geometry
from hilum.ops.labels.placing import place_label_map
from hilum.ops.resample import resampled_geometry
from hilum.scan import LabelMap
from hilum.volume import Mask

VOLUME, MOVE_MM = 0.01, 0.1
"""The largest relative error of a volume, and the largest move of a centroid, that count as kept."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Labels brought to 1 mm.")
    parser.add_argument("--number", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    errors = np.array([found for k in range(arguments.number) if (found := _errors(rng, k)) is not None])
    print(f"{len(errors)} labels of at least 1 ml, brought to 1 mm")
    print("order   volume: median, worst %   kept   centroid: median, worst mm   kept")
    for order in (0, 1):
        volume, moved = errors[:, order].T
        kept = (volume <= VOLUME).mean(), (moved <= MOVE_MM).mean()
        print(
            f"{order}       {100 * np.median(volume):8.3f} {100 * volume.max():8.2f}      {kept[0]:6.1%}"
            f"   {np.median(moved):8.3f} {moved.max():8.2f}        {kept[1]:6.1%}"
        )


def _errors(rng: np.random.Generator, k: int) -> list[tuple[float, float]] | None:
    """The errors of volume and centroid, mm, of one label for orders 0 and 1."""
    spacing = (float(rng.choice([0.6, 1, 1.25, 2.5, 3, 5, 8])), *[float(rng.uniform(0.5, 0.98))] * 2)
    shape = tuple(int(n) for n in np.ceil(np.array([60, 80, 80]) / spacing))
    angles = rng.uniform(-0.3, 0.3, 2) if k % 2 else (0.0, 0.0)
    grid = Geometry(shape, spacing, tuple(rng.uniform(-50, 50, 3)), _directions(*angles))
    center = grid.index_to_world((np.array(shape) - 1) / 2) + rng.uniform(-2, 2, 3)
    index = np.moveaxis(np.indices(shape), 0, -1)
    inside = (((grid.index_to_world(index) - center) / rng.uniform(6.3, 14, 3)) ** 2).sum(-1) < 1
    if np.count_nonzero(inside) * grid.voxel_volume < 1000:
        return None
    out = resampled_geometry(grid, spacing=1.0)
    if k % 4 == 3:
        out = Geometry((70, 90, 90), (1.0, 1.0, 1.0), tuple(center - (45, 45, 35)))
    truth = _measure(inside, grid)
    found = []
    for order in (0, 1):
        placed = place_label_map(LabelMap(Mask(inside, grid), {"label": 1}), out, order=order).label_map.mask
        volume, centroid = _measure(placed.array > 0, out)
        found.append((abs(volume / truth[0] - 1), float(np.linalg.norm(centroid - truth[1]))))
    return found


def _measure(inside: np.ndarray, grid: Geometry) -> tuple[float, np.ndarray]:
    where = np.argwhere(inside)
    return len(where) * grid.voxel_volume, grid.index_to_world(where.mean(axis=0))


def _directions(a: float, b: float) -> tuple[tuple[float, ...], ...]:
    first = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    second = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    return tuple(map(tuple, (first @ second)[:, ::-1].T.tolist()))


if __name__ == "__main__":
    main()
