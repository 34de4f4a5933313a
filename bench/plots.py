"""Time of `hilum plot` on one scan: whole processes, from the command to the file.

    python bench/plots.py DICOM_FOLDER [--annotations FILE] [--rounds 5] [--out FOLDER]

Prints the shortest and the median time of each kind, and the CPU seconds of the shortest. The shortest counts, because
other work on the machine can only add to it. Exits 1 if a montage takes 2 s, or a surface 10 s. One more round than
--rounds is run, and the longest is dropped: the first may compile bytecode.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

LIMITS = {"montage": 2.0, "surface": 10.0, "surface --kind skeleton": 10.0}
"""Upper bounds, seconds."""

KINDS = ("montage", "montage --lungs", "surface", "surface --kind skeleton", "histogram", "steps",
         "steps --method hilum", "nodules", "window", "overview", "compare")  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--annotations", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="keep the pictures here")
    options = parser.parse_args()
    status = 0
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{'kind':26s}{'shortest s':>12s}{'median s':>10s}{'CPU s':>8s}{'limit s':>9s}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.out or Path(scratch)
        for kind in KINDS:
            if kind == "nodules" and options.annotations is None:
                continue
            times = sorted(_time(kind, options, folder) for _ in range(options.rounds + 1))[: options.rounds]
            limit = LIMITS.get(kind)
            status |= limit is not None and times[0][0] >= limit
            bound = f"{limit:9.0f}" if limit else ""
            print(
                f"{kind:26s}{times[0][0]:12.2f}{median(t for t, _ in times):10.2f}{times[0][1]:8.2f}{bound}", flush=True
            )
    return status


def _time(kind: str, options: argparse.Namespace, folder: Path) -> tuple[float, float]:
    out = folder / f"{kind.replace(' --', '-').replace(' ', '-')}.png"
    words = [sys.executable, "-m", "hilum.cli", "plot", *kind.split(), str(options.folder), "--out", str(out)]
    words += ["--annotations", str(options.annotations)] if options.annotations else []
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before, start = os.times(), time.perf_counter()
    subprocess.run(words, check=True, env=env, stdout=subprocess.DEVNULL)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - start, cpu


if __name__ == "__main__":
    sys.exit(main())
