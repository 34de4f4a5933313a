"""Compare hilum with the fast tools of today, task by task, in turn on the same scan.

    python bench/peers.py [SERIES] [--rounds 7] [--tasks read convert resample patches] [--out FOLDER]

* read: a DICOM series to HU in memory: dicomsdl, fastdicom, SimpleITK, pydicom.
* convert: whole processes, a series to .nii and to .nii.gz: dcm2niix, dicom2nifti.
* resample: a volume in memory to 1 mm: cubic (SimpleITK's B-spline, scipy), linear (medrs, SimpleITK, TorchIO, MONAI).
* patches: 64^3 voxels of a file at a random place: medrs, nibabel.

Without SERIES a phantom of 275 slices of 512 x 512 is made. Peers that are not installed are left out; `python3 dev.py
bench` makes an environment with those of requirements/peers.txt. Every way runs once a round, in turn; a way that takes
longer than 5 s runs in two rounds. A ratio is the median of the ratios of the rounds. hilum's HU must equal each
reader's, or the task stops. Exits 1 where a bound of `BOUNDS` does not hold.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from contenders import peer_patches, peer_reads, peer_resamples

import hilum

if TYPE_CHECKING:
    from collections.abc import Callable

    Ways = dict[str, Callable[[], Any]]

MEMORY = Path("/dev/shm")  # noqa: S108 - everything below it is in a temporary folder
SLOW_SECONDS, SLOW_ROUNDS = 5.0, 2
PHANTOM = {"shape": (275, 512, 512), "spacing": (1.1, 0.7, 0.7)}
BOUNDS = {"read": 4.0, "cubic": 7.0, "linear": 7.0, "to .nii": 1.0, "to .nii.gz": 4.0}
"""By task, how many times as fast as every peer hilum is to be."""

TASKS = ("read", "convert", "resample", "patches")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("series", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tasks", nargs="*", choices=TASKS, default=list(TASKS))
    parser.add_argument("--out", type=Path, default=MEMORY if MEMORY.is_dir() else None, help="where the outputs go")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{'task':12s}{'way':14s}{'median s':>10s}{'spread':>18s}{'CPU s':>9s}{'hilum is x as fast':>20s}")
    with tempfile.TemporaryDirectory(dir=options.out) as scratch:
        folder = Path(scratch)
        series = options.series or make_series(folder / "phantom")
        slower = [
            line
            for task in options.tasks
            for name, ways, burst in ways_of(task, series, folder)
            for line in compared(name, ways, options.rounds, burst)
        ]
    print(*slower, sep="\n", end="\n" if slower else "")
    return 1 if slower else 0


def make_series(folder: Path) -> Path:
    from hilum.phantom.chest import make_phantom
    from hilum.phantom.files import write_dicom_series

    return write_dicom_series(make_phantom(seed=0, **PHANTOM), folder)


def ways_of(task: str, series: Path, folder: Path) -> list[tuple[str, Ways, int]]:
    """The parts of a task: name, ways, and how often a way is called for one measurement."""
    if task == "read":
        ways = peer_reads.ways(series)
        check_reads(ways)
        return [("read", ways, 1)]
    if task == "convert":
        return [(f"to {ending}", convert_ways(series, folder, ending), 1) for ending in (".nii", ".nii.gz")]
    volume, nifti = hilum.read(series).ct, folder / "scan.nii"
    if task == "resample":
        hilum.write(volume, nifti)
        by_order = peer_resamples.ways(volume, nifti)
        check_sizes(by_order["linear"])
        return [(order, ways, 1) for order, ways in by_order.items()]
    run = folder / "run"
    subprocess.run(
        [sys.executable, "-m", "hilum.cli", "--quiet", "run", series, "--out", run, "--format", "npy"], check=True
    )
    (one,) = hilum.open_run(run)
    ct = one.scan().ct
    hilum.write(ct, nifti)
    return [("patches", peer_patches.ways(run, nifti, ct.shape), 100)]


def check_reads(ways: Ways) -> None:
    """Stop where a reader's voxels differ from hilum's."""
    ours = ways["hilum"]()
    for name, way in ways.items():
        theirs = way()
        if not np.array_equal(ours, theirs):
            sys.exit(f"{name} reads other voxels than hilum: shapes {theirs.shape} and {ours.shape}")


def check_sizes(ways: Ways) -> None:
    """Stop where a resampler gives a volume of another size than hilum's; grids differ by a voxel at the end."""
    ours = sorted(ways["hilum"]().shape)
    for name, way in ways.items():
        theirs = sorted(way().squeeze().shape)
        if len(theirs) != len(ours) or any(abs(a - b) > 1 for a, b in zip(ours, theirs, strict=True)):
            sys.exit(f"{name} resamples to {theirs}, hilum to {ours}")


def convert_ways(series: Path, folder: Path, ending: str) -> Ways:
    out = folder / "converted"
    programs: dict[str, list[Any]] = {
        "hilum": [sys.executable, "-m", "hilum.cli", "convert", series, out / f"a{ending}"]
    }
    if find_spec("dcm2niix"):
        import dcm2niix

        programs["dcm2niix"] = [dcm2niix.bin, "-z", "y" if ending == ".nii.gz" else "n", "-o", out, "-f", "a", series]
    if find_spec("dicom2nifti"):
        how = f"compression={ending == '.nii.gz'}, reorient=False"
        code = f"import sys, dicom2nifti; dicom2nifti.convert_directory(*sys.argv[1:], {how})"
        programs["dicom2nifti"] = [sys.executable, "-c", code, series, out]

    def process(words: list[Any]) -> Callable[[], None]:
        def call() -> None:
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if not any(out.iterdir()):
                sys.exit(f"nothing was written by {' '.join(map(str, words))}")

        return call

    return {name: process(words) for name, words in programs.items()}


def compared(task: str, ways: Ways, rounds: int, burst: int) -> list[str]:
    """Print a line for each way; give a sentence for each peer that the bound does not hold against."""
    seconds, busy = measured(ways, rounds, burst)
    bound, slower = BOUNDS.get(task, 0.0), []
    for name, times in seconds.items():
        ratio = median(a / b for a, b in zip(times, seconds["hilum"], strict=False))
        spread = f"{min(times):.4g}-{max(times):.4g}"
        shown = "" if name == "hilum" else f"{ratio:.2f}"
        print(
            f"{task:12s}{name:14s}{median(times):10.4g}{spread:>18s}{median(busy[name]):9.4g}{shown:>20s}", flush=True
        )
        if name != "hilum" and ratio < bound:
            slower.append(f"{task}: hilum is {ratio:.2f} x as fast as {name}, bound {bound:g}")
    return slower


def measured(ways: Ways, rounds: int, burst: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds and processor seconds of one call of each way, by round; the first round warms up and is dropped."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    busy: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            if turn > SLOW_ROUNDS and seconds[name] and seconds[name][0] > SLOW_SECONDS:
                continue
            started, worked = time.perf_counter(), processor_seconds()
            for _ in range(burst):
                way()
            if turn:
                seconds[name].append((time.perf_counter() - started) / burst)
                busy[name].append((processor_seconds() - worked) / burst)
    return seconds, busy


def processor_seconds() -> float:
    """Of this process and its children that ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    sys.exit(main())
