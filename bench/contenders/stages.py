"""Stage by stage on one scan, hilum and the tutorial in turn, beside a plain copy of the volume.

    python bench/contenders/stages.py FOLDER OUT [--runs 9]

Prints JSON: for every stage the seconds of each run. The tutorial's stages are run once for every three of hilum's
runs, for they take as long as a hundred of them.
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
    told: dict[str, dict[str, list[float]]] = {"hilum": {}, "tutorial": {}, "copy": {}}
    for run in range(arguments.runs):
        stages: Stages = {}
        # A warm run takes the memory that the run before gave back just now: what lies free is taken by the host.
        hilum_tutorial.work(arguments.folder, arguments.out, {})
        made = hilum_tutorial.work(arguments.folder, arguments.out, stages)
        stages["hilum lungs"] = _seconds(lambda made=made: segment_lungs(made["even"]))
        stages["nii.gz, one core"] = _seconds(lambda made=made: _write(made["even"], arguments.out / "ct.nii.gz"))
        _add(told["hilum"], stages)
        for name in ("scan", "even"):
            array = made["scan"].ct.array if name == "scan" else made["even"].array
            np.copy(array)  # leaves the memory that the next one takes: a stage finds the memory of the run before
            _add(told["copy"], {name: _seconds(lambda array=array: np.copy(array))})
        made.clear()
        del array
        if run % EVERY == 0:
            stages = {}
            tutorial.work(arguments.folder, arguments.out, stages)  # it, too, finds memory that was given back just now
            _add(told["tutorial"], stages)
    print(json.dumps(told))


def _write(volume: hilum.Volume, path: Path) -> None:
    hilum.write(volume, path)


def _seconds(work: object) -> float:
    start = time.perf_counter()
    work()  # type: ignore[operator]  # a script
    return time.perf_counter() - start


def _add(told: dict[str, list[float]], stages: Stages) -> None:
    for name, seconds in stages.items():
        told.setdefault(name, []).append(seconds)


if __name__ == "__main__":
    main()
