"""Windows over a whole scan and their stitching, with a model that answers what it is given.

python bench/contenders/feed_windows.py ROUNDS
"""

from __future__ import annotations

import sys
import time
from statistics import median

import numpy as np

import hilum

SHAPE, SPACING = (275, 512, 512), (1.25, 0.7, 0.7)
CASES = ((96, 0.25), (96, 0.5), (128, 0.25), (128, 0.5), ((64, 128, 128), 0.5))


def main(rounds: int) -> None:
    values = np.random.default_rng(0).integers(-1024, 1500, SHAPE).astype(np.int16)
    ct = hilum.Volume(values, hilum.Geometry(SHAPE, SPACING))
    unit = hilum.normalize(ct).array
    print("| window | overlap | windows | as stored, s | scaled, s | processor s | exact |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    hilum.windows(ct[:9, :9, :9], 8).stitch([np.zeros((8, 8, 8), np.float32)] * 8)  # loads the kernel
    for size, overlap in CASES:
        walls: dict[bool, list[float]] = {False: [], True: []}
        costs, exact, number = list[float](), True, 0
        for _ in range(rounds):
            for scaled, times in walls.items():
                started, worked = time.perf_counter(), time.process_time()
                windows = hilum.windows(ct, size, overlap=overlap, window=(-1000, 400) if scaled else None)
                one_by_one = (window.array for window in windows)
                answers = (answer for batch in windows.batches() for answer in batch) if scaled else one_by_one
                same = windows.stitch(answers)
                times.append(time.perf_counter() - started)
                costs.append(time.process_time() - worked)
                exact &= np.array_equal(same.array[0], unit if scaled else values)
                number = len(windows)
        plain, unit_range = (f"{median(times):.2f} ({min(times):.2f})" for times in walls.values())
        print(f"| {size} | {overlap} | {number} | {plain} | {unit_range} | {min(costs):.2f} | {exact} |")


if __name__ == "__main__":
    main(int(sys.argv[1]))
