"""Time of the stages on one scan, for hilum and the tutorial in turn, and of a copy of the volume.

    python bench/contenders/stages.py FOLDER OUT [--runs 9]

Prints JSON: for each stage the seconds of each run. The tutorial runs once for every three runs of hilum, because it
takes as long as a hundred of them.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import hilum_tutorial
import numpy as np
import tutorial

import hilum
from hilum.ops.lungs.segment import segment_lungs

if TYPE_CHECKING:
    from clock import Stages

EVERY = 3


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--runs", type=int, default=9)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    segment_lungs(
        hilum_tutorial.work(arguments.folder, arguments.out, {})["even"]
    )  # kernels loaded, files in the page cache
    seconds: dict[str, dict[str, list[float]]] = {"hilum": {}, "tutorial": {}, "copy": {}}
    for run in range(arguments.runs):
        stages: Stages = {}
        # A warm-up run: the next one reuses its memory, which the host would otherwise take.
        hilum_tutorial.work(arguments.folder, arguments.out, {})
        made = hilum_tutorial.work(arguments.folder, arguments.out, stages)
        stages["hilum lungs"] = _seconds(lambda made=made: segment_lungs(made["even"]))
        stages["nii.gz, one core"] = _seconds(lambda made=made: _write(made["even"], arguments.out / "ct.nii.gz"))
        _add(seconds["hilum"], stages)
        for name in ("scan", "even"):
            array = made["scan"].ct.array if name == "scan" else made["even"].array
            np.copy(array)  # a warm-up: the next copy reuses its memory
            _add(seconds["copy"], {name: _seconds(lambda array=array: np.copy(array))})
        made.clear()
        del array
        if run % EVERY == 0:
            stages = {}
            tutorial.work(arguments.folder, arguments.out, stages)  # also after a warm-up
            _add(seconds["tutorial"], stages)
    print(json.dumps(seconds))


def _write(volume: hilum.Volume, path: Path) -> None:
    hilum.write(volume, path)


def _seconds(work: object) -> float:
    start = time.perf_counter()
    work()  # type: ignore[operator]  # a script
    return time.perf_counter() - start


def _add(seconds: dict[str, list[float]], stages: Stages) -> None:
    for name, value in stages.items():
        seconds.setdefault(name, []).append(value)


if __name__ == "__main__":
    main()
