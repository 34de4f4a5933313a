"""Time of `hilum info` on a DICOM folder, compared with pydicom reading the same headers, in turn, in one process.

python bench/info.py FOLDER [--runs 7]

Prints medians without start-up, and their ratios. Exits 1 if hilum takes longer than --limit seconds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pydicom
from pydicom.errors import InvalidDicomError

from hilum.console import inspection_text
from hilum.io.dicom.reader import index_dicom
from hilum.io.inspect import inspect

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--limit", type=float, default=0.15, help="seconds that index_dicom may take")
    arguments = parser.parse_args()
    ways: dict[str, Callable[[], object]] = {
        "hilum, index_dicom": lambda: index_dicom(arguments.folder),
        "hilum, whole text": lambda: inspection_text(inspect(arguments.folder)),
        "pydicom, headers": lambda: headers_by_pydicom(arguments.folder),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(arguments.runs + 1):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            if turn:  # the first turn imports, and warms the disk cache
                seconds[name].append(time.perf_counter() - started)
    middle = {name: statistics.median(times) for name, times in seconds.items()}
    base = middle["pydicom, headers"]
    print(f"{headers_by_pydicom(arguments.folder)} DICOM files, median of {arguments.runs}")
    for name, times in seconds.items():
        spread = f"{min(times):.3f}-{max(times):.3f}"
        print(f"{name:20s}{middle[name]:8.3f} s  {spread:>14s}  {middle[name] / base:6.2f} x pydicom")
    return 0 if middle["hilum, index_dicom"] <= arguments.limit else 1


def headers_by_pydicom(folder: Path) -> int:
    """Read every header with pydicom, up to the pixels, and count them."""
    count = 0
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            try:
                pydicom.dcmread(path, stop_before_pixels=True)
            except InvalidDicomError:
                continue
            count += 1
    return count


if __name__ == "__main__":
    sys.exit(main())
