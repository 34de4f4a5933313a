"""Start-up time of `import hilum`, `hilum --help` and compiled kernels, compared with `import numpy`.

python bench/startup.py [--runs 15]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import hilum

CACHE = Path(hilum.__file__).parent / "_kernels" / "__pycache__"

LINK = """
import pathlib, sys
from hilum._kernels.compile import cache, machine_code
folder = pathlib.Path(sys.argv[1])
for path in sorted(folder.glob("*.kernel"))[:int(sys.argv[2])]:
    machine_code._link(cache.read(path.name, folder.parent).partition(b"\\n")[2])
"""
"""Loads a number of cached kernels into the process, as their first call does."""

COMMANDS = {
    "import numpy": [sys.executable, "-c", "import numpy"],
    "import numpy, hilum": [sys.executable, "-c", "import numpy, hilum"],
    "hilum --help": [str(Path(sys.executable).with_name("hilum")), "--help"],
    "the first kernel": [sys.executable, "-c", LINK, str(CACHE), "1"],
    "twenty-one kernels": [sys.executable, "-c", LINK, str(CACHE), "21"],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(runs + 1):
        for name, command in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            if turn:  # the first turn warms the disk cache
                seconds[name].append(time.perf_counter() - started)
    base = statistics.median(seconds["import numpy"])
    print(f"{'command':22s}{'median s':>10s}{'spread':>16s}{'x numpy':>9s}{'beyond numpy':>14s}")
    for name, times in seconds.items():
        middle = statistics.median(times)
        spread = f"{min(times):.3f}-{max(times):.3f}"
        print(f"{name:22s}{middle:10.3f}{spread:>16s}{middle / base:9.2f}{middle - base:14.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
