"""The same work as `tutorial.py`, with hilum's functions.

python bench/contenders/hilum_tutorial.py FOLDER... OUT
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from clock import Stages, run, stage

import hilum
from hilum.ops.morphology import dilate

if TYPE_CHECKING:
    from pathlib import Path


def work(folder: Path, out: Path, stages: Stages) -> dict[str, Any]:
    """Do all steps on one scan; give their results."""
    with stage(stages, "load"):
        scan = hilum.read(folder)
    with stage(stages, "resample"):
        even = hilum.resample(scan.ct, spacing=1.0, order=3, grid="corner")
    with stage(stages, "tutorial3d"):
        lungs = hilum.segment_lungs(even, method="tutorial3d")
    with stage(stages, "tutorial2d"):
        flat = hilum.segment_lungs(scan.ct, method="tutorial2d")
    with stage(stages, "dilate"):
        grown = dilate(lungs, radius_mm=5.0)
    with stage(stages, "normalize"):
        unit = hilum.normalize(even, lower=-1000.0, upper=400.0, mean=0.25)
    with stage(stages, "save"):
        np.save(out / "mask.npy", lungs.array)
        np.save(out / "unit.npy", unit.array)
    return {"scan": scan, "even": even, "lungs": lungs, "flat": flat, "grown": grown, "unit": unit}


if __name__ == "__main__":
    run(work)
