"""Time to draw five nodules on a grid, by hilum and as in the 2017 tutorial, in turn, in one process.

python bench/nodules.py [--runs 15]

The tutorial computes the distance of every voxel of the volume to each nodule. Prints medians and their ratio, and the
volumes of spheres and of an outlined ball against the truth. Exits 1 if five nodules take longer than --limit.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from typing import TYPE_CHECKING

import numpy as np

import hilum
from hilum import Geometry, Nodule, Reading
from hilum.ops.nodules.readings import nodule_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

SHAPE = (300, 358, 358)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--limit", type=float, default=0.003, help="seconds that five spheres may take")
    arguments = parser.parse_args()
    grid = Geometry(SHAPE, (1.0, 1.0, 1.0), (-180.0, -170.0, -300.0))
    points = np.random.default_rng(1).uniform((-140, -130, -260), (140, 150, -40), (5, 3)).tolist()
    spheres = [Nodule((x, y, z), d) for (x, y, z), d in zip(points, (4.0, 6.0, 9.0, 15.0, 28.0), strict=True)]
    outlined = [ball(n.center, n.diameter_mm) for n in spheres]
    ways: dict[str, Callable[[], object]] = {
        "every voxel, 5 spheres": lambda: every_voxel(grid, spheres),
        "hilum, 5 spheres": lambda: hilum.mask_nodules(grid, spheres),
        "hilum, 5 outlined, 4 readers": lambda: hilum.mask_nodules(grid, outlined),
        "hilum, fractions of 5 spheres": lambda: hilum.cover_nodules(grid, spheres),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for run in range(arguments.runs + 1):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            if run:
                seconds[name].append(time.perf_counter() - started)
    middle = {name: statistics.median(times) for name, times in seconds.items()}
    base = middle["every voxel, 5 spheres"]
    print(f"{SHAPE} voxels, median of {arguments.runs}")
    for name, times in seconds.items():
        spread = f"{1e3 * min(times):.2f}-{1e3 * max(times):.2f}"
        print(f"{name:30s}{1e3 * middle[name]:9.2f} ms  {spread:>16s}  1/{base / middle[name]:.0f}")
    for diameter in (5.0, 8.0, 15.0, 28.0):
        volumes(diameter)
    return 0 if middle["hilum, 5 spheres"] <= arguments.limit else 1


def every_voxel(grid: Geometry, nodules: Sequence[Nodule]) -> NDArray[np.uint8]:
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    labels = np.zeros(SHAPE, np.uint8)
    for k, nodule in enumerate(nodules, start=1):
        c = grid.world_to_index(nodule.center)
        labels[(z - c[0]) ** 2 + (y - c[1]) ** 2 + (x - c[2]) ** 2 <= (nodule.diameter_mm / 2) ** 2] = k
    return labels


def ball(center: Sequence[float], diameter: float) -> Nodule:
    """Outline a ball as four readers would, on slices of 0.7 x 0.7 x 1.25 mm, on the first pixels outside it."""
    slices = Geometry((240, 512, 512), (1.25, 0.7, 0.7), (-180.0, -170.0, -300.0))
    z, y, x = slices.world_to_index(center)
    outlines = []
    for k in range(round(z) - 30, round(z) + 31):
        squared = (diameter / 2) ** 2 - (1.25 * (k - z)) ** 2
        if squared > 0.49:
            radius = np.sqrt(squared) / 0.7 + 0.5
            angle = np.linspace(0, 2 * np.pi, 200)
            rows, columns = np.rint(y + radius * np.sin(angle)), np.rint(x + radius * np.cos(angle))
            outlines.append(slices.index_to_world(np.column_stack([np.full(200, k), rows, columns])))
    return nodule_of([Reading(reader, slices, tuple(outlines)) for reader in (1, 2, 3, 4)])


def volumes(diameter: float) -> None:
    grid = Geometry((40, 40, 40), (1.0, 1.0, 1.0))
    points = np.random.default_rng(2).uniform(19, 20, (50, 3)).tolist()
    truth = np.pi * diameter**3 / 6
    spheres = [Nodule((x, y, z), diameter) for x, y, z in points]
    sphere_error = np.mean([np.count_nonzero(hilum.mask_nodules(grid, [n]).array) for n in spheres]) / truth - 1
    fractions = np.mean([hilum.cover_nodules(grid, [n]).array.sum() for n in spheres[:10]]) / truth - 1
    outlined = ball((19.3, 19.8, 19.6), diameter)
    outline_error = np.count_nonzero(hilum.mask_nodules(grid, [outlined]).array) / truth - 1
    print(
        f"{diameter:5.1f} mm at 1 mm: spheres {sphere_error:+.2%}, fractions {fractions:+.2%}, "
        f"outlined {outline_error:+.1%} of the ball"
    )


if __name__ == "__main__":
    sys.exit(main())
