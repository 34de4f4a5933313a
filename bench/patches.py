"""How many random 64^3 patches a second a finished run gives, against reading volumes as everybody does.

    python bench/patches.py [SECONDS]

One phantom scan of 300 x 400 x 400 voxels at 1 mm is run into both stores. Each way gives int16 brought to float32 and
the mask beside it, at the same nodules: `PatchDataset` on npy and on nii.gz (kept in memory); nibabel reading the whole
.nii.gz for every patch; arrays held in memory, cropped and normalized with numpy. Then two processes against one.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np

import hilum
from hilum import batch
from hilum.datasets.phantom import make_phantom
from hilum.recipes import parse_recipe
from hilum.train.runs import list_run

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE, WINDOW, MEAN = 64, (-1000.0, 400.0), 0.25


def make(folder: Path, file_format: str) -> Path:
    phantom = make_phantom(seed=1, shape=(150, 200, 200), spacing=(2.0, 2.0, 2.0))
    hilum.write(phantom.scan.ct, folder / "1.2.3.mhd")
    rows = [f"1.2.3,{','.join(map(str, n.center))},{n.diameter_mm}" for n in phantom.scan.nodules]
    (folder / "a.csv").write_text("\n".join(["seriesuid,coordX,coordY,coordZ,diameter_mm", *rows, ""]))
    refs, _ = batch.index([folder / "1.2.3.mhd"], annotations=folder / "a.csv")
    batch.run(refs, parse_recipe(f'[output]\nformat = "{file_format}"\n'), folder / file_format)
    return folder / file_format


def rate(take: Callable[[int], object], seconds: float) -> float:
    """Patches a second of the clock."""
    take(0)
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        count += 1
        take(count)
    return count / (time.perf_counter() - started)


def cost(ways: dict[str, Callable[[int], object]], seconds: float, rounds: int = 8) -> dict[str, float]:
    """Processor milliseconds a patch: the best of several rounds, taken in turn, so that all see the same machine."""
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, take in ways.items():
            take(0)
            started, ended, count = time.process_time(), time.perf_counter() + seconds / rounds, 0
            while not count or time.perf_counter() < ended:
                count += 1
                take(count)
            best[name] = min(best[name], (time.process_time() - started) / count * 1000)
    return best


def crop_start(index: int, scan: object) -> tuple[slice, ...]:
    nodule = scan.record.nodules[index % len(scan.record.nodules)]
    center = np.rint(nodule.voxel).astype(int) + np.random.default_rng(index).integers(-5, 6, 3)
    first = np.clip(center - SIZE // 2, 0, np.array(scan.geometry.shape) - SIZE)
    return tuple(slice(a, a + SIZE) for a in first)


def finish(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    unit = np.clip((image.astype(np.float32) - WINDOW[0]) / (WINDOW[1] - WINDOW[0]), 0, 1) - np.float32(MEAN)
    return unit, np.array(mask)


def work(folder: Path, seconds: float, answer: multiprocessing.Queue) -> None:
    data = hilum.PatchDataset(folder, size=SIZE, length=10**6, window=WINDOW, mean=MEAN)
    answer.put(rate(data.__getitem__, seconds))


def together(folder: Path, seconds: float, processes: int) -> float:
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    alive = [context.Process(target=work, args=(folder, seconds, answer)) for _ in range(processes)]
    for process in alive:
        process.start()
    rates = [answer.get() for _ in alive]
    for process in alive:
        process.join()
    return sum(rates)


def main(seconds: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        npy, nifti = (make(folder, kind) for kind in ("npy", "nifti"))
        (scan,), _ = list_run(nifti)
        options = {"size": SIZE, "length": 10**6, "window": WINDOW, "mean": MEAN}
        mapped, packed = hilum.PatchDataset(npy, **options), hilum.PatchDataset(nifti, **options)

        def whole(index: int) -> object:
            images = [nib.load(scan.folder / f"{part}.nii.gz") for part in ("ct", "nodules")]
            box = crop_start(index, scan)
            return finish(*(np.asanyarray(image.dataobj).T[box] for image in images))

        held = [np.ascontiguousarray(np.load(list_run(npy)[0][0].folder / f"{p}.npy")) for p in ("ct", "nodules")]

        def memory(index: int) -> object:
            box = crop_start(index, scan)
            return finish(*(array[box] for array in held))

        ways = {
            "PatchDataset, npy store": mapped.__getitem__,
            "PatchDataset, nii.gz store, kept": packed.__getitem__,
            "whole .nii.gz for every patch": whole,
            "arrays in memory, numpy": memory,
        }
        rate(mapped.__getitem__, seconds / 4)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"PatchDataset, npy store: {rate(mapped.__getitem__, seconds):.0f} patches a second of the clock")
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(f"  memory grew by {grown / 1024:.0f} MB meanwhile")
        found = cost(ways, seconds)
        for way, spent in found.items():
            ratio = spent / found["PatchDataset, npy store"]
            print(f"{way:34s}{spent:9.2f} ms of a processor a patch, {ratio:.2f} times the first")
        one, two = (together(npy, seconds, n) for n in (1, 2))
        print(f"two processes against one         {two / one:8.2f} times")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 3.0)
