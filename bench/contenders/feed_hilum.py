"""Patches from hilum: plain, mirrored, rotated and zoomed; in one process and two; with torch's DataLoader.

python bench/contenders/feed_hilum.py NPY NIFTI SECONDS ROUNDS [torch|cubes|shapes]
"""

from __future__ import annotations

import itertools
import multiprocessing
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patch_clock import MEAN, SIZE, WINDOW, forever, measure, measure_together, print_result

import hilum

if TYPE_CHECKING:
    from collections.abc import Callable

OPTIONS: dict[str, Any] = {"size": SIZE, "window": WINDOW, "mean": MEAN}


def one_process(npy: Path, nifti: Path, seconds: float, rounds: int) -> None:
    ways = {
        "hilum": (npy, None),
        "hilum, .nii.gz store, kept": (nifti, None),
        "hilum, flips and 90 degrees": (npy, hilum.Augment(flip="zyx", turn90=True)),
        "hilum, rotated and zoomed": (npy, hilum.Augment(rotate_degrees=15, scale=(0.9, 1.1))),
        "hilum, rotated and zoomed linearly": (npy, hilum.Augment(rotate_degrees=15, scale=(0.9, 1.1), order=1)),
        "hilum, a fifth rotated and zoomed": (npy, hilum.Augment(rotate_degrees=15, scale=(0.9, 1.1), share=0.2)),
        "hilum, all": (npy, hilum.Augment(flip="zyx", turn90=True, rotate_degrees=15, scale=(0.9, 1.1))),
    }
    takes = {
        way: next_item(hilum.PatchDataset(folder, length=10**7, augment=augment, **OPTIONS))
        for way, (folder, augment) in ways.items()
    }
    measure_together(takes, seconds=seconds, rounds=rounds)


def cubes(npy: Path, seconds: float, rounds: int) -> None:
    """Measure cubes, in the terms of every version."""
    ways = {
        "plain": None,
        "flips and 90 degrees": hilum.Augment(flip="zyx", turn90=True),
        "rotated and zoomed": hilum.Augment(rotate_degrees=15, scale=(0.9, 1.1)),
        "rotated and zoomed linearly": hilum.Augment(rotate_degrees=15, scale=(0.9, 1.1), order=1),
    }
    data = {way: hilum.PatchDataset(npy, length=10**7, augment=augment, **OPTIONS) for way, augment in ways.items()}
    measure_together({way: next_item(one) for way, one in data.items()}, seconds=seconds, rounds=rounds)


def shapes(npy: Path, seconds: float, rounds: int) -> None:
    """Measure patches of as many voxels as the cube, of other shapes and spacings."""
    turned = hilum.Augment(rotate_degrees=15, scale=(0.9, 1.1))
    ways: dict[str, dict[str, Any]] = {
        "64 x 64 x 64": {},
        "32 x 64 x 128": {"size": (32, 64, 128)},
        "16 x 128 x 128": {"size": (16, 128, 128)},
        "64 x 64 x 64, rotated and zoomed": {"augment": turned},
        "32 x 64 x 128, rotated and zoomed": {"size": (32, 64, 128), "augment": turned},
        "16 x 128 x 128, rotated and zoomed": {"size": (16, 128, 128), "augment": turned},
        "64 x 64 x 64, of 0.8 mm": {"size_mm": 51.2},
        "64 x 64 x 64, with 128 mm around it": {"context_mm": 128},
    }
    data = {
        way: hilum.PatchDataset(npy, length=10**7, **{**OPTIONS, "jitter_mm": 4.0, **more})
        for way, more in ways.items()
    }
    measure_together({way: next_item(one) for way, one in data.items()}, seconds=seconds, rounds=rounds)


def next_item(data: hilum.PatchDataset) -> Callable[[], object]:
    indices = itertools.count()
    return lambda: data[next(indices)]


def read_batches(folder: Path, worker: int, workers: int, seconds: float, results: Any, ready: Any) -> None:
    """Read the batches of one of several processes that share an epoch."""
    data = hilum.PatchDataset(folder, length=10**5, **OPTIONS)
    loop = hilum.batches(data, 4, shuffle=False, worker=worker, workers=workers)
    next(loop)
    ready.wait()
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        count += len(next(loop)["label"])
    results.put(count / (time.perf_counter() - started))


def rate_of_workers(folder: Path, workers: int, seconds: float) -> float:
    context = multiprocessing.get_context("spawn")
    results, ready = context.Queue(), context.Barrier(workers)
    processes = [
        context.Process(target=read_batches, args=(folder, k, workers, seconds, results, ready)) for k in range(workers)
    ]
    for process in processes:
        process.start()
    rates = [results.get() for _ in processes]
    for process in processes:
        process.join()
    return sum(rates)


def through_torch(npy: Path, seconds: float, rounds: int) -> None:
    import torch

    torch.set_num_threads(1)
    for workers in (0, 1, 2):
        data = hilum.PatchDataset(npy, length=10**5, **OPTIONS)
        loader = torch.utils.data.DataLoader(data, batch_size=16, shuffle=True, num_workers=workers)
        loop = forever(lambda _, loader=loader: loader)
        way = f"hilum, torch's DataLoader, {workers} workers"
        measure(way, lambda loop=loop: next(loop), seconds=seconds, rounds=rounds, patches=16)


if __name__ == "__main__":
    npy, nifti = map(Path, sys.argv[1:3])
    seconds, rounds = float(sys.argv[3]), int(sys.argv[4])
    if others := {"torch": through_torch, "cubes": cubes, "shapes": shapes}.get("".join(sys.argv[5:])):
        others(npy, seconds, rounds)
    else:
        one_process(npy, nifti, seconds, rounds)
        by_workers: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(rounds):
            for workers, rates in by_workers.items():
                rates.append(rate_of_workers(npy, workers, seconds))
        for workers, rates in by_workers.items():
            print_result(f"hilum, batches, {workers} processes", rates, [], [])
