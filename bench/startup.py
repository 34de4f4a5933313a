"""Time of whole processes of hilum on one DICOM series, beside dcm2niix and beside another checkout of hilum.

python bench/startup.py [SERIES] [--runs 15] [--before CHECKOUT] [--dcm2niix PROGRAM] [--out FOLDER]

Every program runs once a turn, in turn, so that all see the same machine. A ratio is the median of the ratios of the
turns. Without SERIES a phantom of 275 slices of 512 x 512 is made. dcm2niix is no dependency: `pip install dcm2niix`
installs it. FOLDER is one in memory where Linux has it; with another one the disk is in the ratio. Exits 1 where a
conversion of hilum takes longer than dcm2niix's.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parents[1]
MEMORY = Path("/dev/shm")  # noqa: S108 - everything below it is in a temporary folder
PHANTOM = {"shape": (275, 512, 512), "spacing": (1.1, 0.7, 0.7)}
ZIPPED = {"hilum convert .nii": "n", "hilum convert .nii.gz": "y"}  # what dcm2niix calls them


class Program(NamedTuple):
    """A process: its words, and the folder of the source that it runs, where it is hilum."""

    words: list[str]
    source: str = ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("series", type=Path, nargs="?")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--before", type=Path, help="another checkout of hilum")
    parser.add_argument("--dcm2niix", type=Path, default=find_dcm2niix())
    parser.add_argument("--out", type=Path, default=MEMORY if MEMORY.is_dir() else None, help="where the outputs go")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.out) as folder:
        series = options.series or make_series(Path(folder) / "phantom")
        programs = list_programs(series, Path(folder) / "out", options.before, options.dcm2niix)
        seconds, busy = measure(programs, Path(folder) / "out", options.runs)
    return report(seconds, busy)


def find_dcm2niix() -> Path | None:
    """Find the program of the package dcm2niix itself, not the Python script before it; else one on PATH."""
    if importlib.util.find_spec("dcm2niix") is not None:
        import dcm2niix

        return Path(dcm2niix.bin)
    found = shutil.which("dcm2niix")
    return None if found is None else Path(found)


def make_series(folder: Path) -> Path:
    from hilum.phantom.chest import make_phantom
    from hilum.phantom.files import write_dicom_series

    return write_dicom_series(make_phantom(seed=0, **PHANTOM), folder)


def list_programs(series: Path, out: Path, before: Path | None, dcm2niix: Path | None) -> dict[str, Program]:
    commands = {
        "hilum --help": ["--help"],
        "hilum info": ["info", series],
        "hilum info --headers": ["info", series, "--headers"],
        "hilum convert .nii": ["convert", series, out / "a.nii"],
        "hilum convert .nii.gz": ["convert", series, out / "a.nii.gz"],
    }
    python = [sys.executable, "-c"]
    programs = {
        "import numpy": Program([*python, "import numpy"]),
        "import numpy, hilum": Program([*python, "import numpy, hilum"], str(HERE / "src")),
    }
    for name, words in commands.items():
        program = [sys.executable, "-m", "hilum.cli", *map(str, words)]
        programs[name] = Program(program, str(HERE / "src"))
        if before is not None:
            programs[f"before: {name}"] = Program(program, str(before.resolve() / "src"))
        if name in ZIPPED and dcm2niix is not None:
            peer = [str(dcm2niix), "-z", ZIPPED[name], "-o", str(out), "-f", "a", str(series)]
            programs[f"dcm2niix: {name}"] = Program(peer)
    if dcm2niix is None:
        print("dcm2niix is missing: pip install dcm2niix, or give --dcm2niix PROGRAM")
    return programs


def measure(
    programs: dict[str, Program], out: Path, runs: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds and processor seconds of each program, a turn each."""
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    busy: dict[str, list[float]] = {name: [] for name in programs}
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for turn in range(runs + 1):
        for name, program in programs.items():
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            before, started = os.times(), time.perf_counter()
            environment = {**clean, "PYTHONPATH": program.source} if program.source else clean
            subprocess.run(program.words, check=True, stdout=subprocess.DEVNULL, env=environment)
            took, after = time.perf_counter() - started, os.times()
            if turn:  # the first turn compiles bytecode and kernels, and warms the disk cache
                seconds[name].append(took)
                used = after.children_user - before.children_user + after.children_system - before.children_system
                busy[name].append(used)
    return seconds, busy


def report(seconds: dict[str, list[float]], busy: dict[str, list[float]]) -> int:
    print(f"{'program':36s}{'median s':>9s}{'spread':>16s}{'CPU s':>8s}{'of before':>11s}{'of dcm2niix':>13s}")
    slower = []
    for name, times in seconds.items():
        spread = f"{min(times):.3f}-{max(times):.3f}"
        line = f"{name:36s}{statistics.median(times):9.3f}{spread:>16s}{statistics.median(busy[name]):8.2f}"
        for peer, width in (("before", 11), ("dcm2niix", 13)):
            others = seconds.get(f"{peer}: {name}")
            ratio = statistics.median(a / b for a, b in zip(times, others, strict=True)) if others else 0.0
            line += f"{ratio:{width}.2f}" if others else " " * width
            if peer == "dcm2niix" and ratio > 1:
                slower.append(name)
        print(line)
    print(*(f"{name} is slower than dcm2niix" for name in slower), sep="\n", end="\n" if slower else "")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
