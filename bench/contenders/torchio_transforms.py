"""A part of the tutorial's work in TorchIO: load, resample, scale intensities; no lungs, no dilation.

python bench/contenders/torchio_transforms.py FOLDER... OUT
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from clock import Stages, run, stage

warnings.simplefilter("ignore")  # of torch's own making

import torchio as tio  # noqa: E402 - after the filter

if TYPE_CHECKING:
    from pathlib import Path


def work(folder: Path, out: Path, stages: Stages) -> None:
    """Load, resample linearly to 1 mm, normalize, one file."""
    with stage(stages, "load"):
        image = tio.ScalarImage(folder)
        image.load()
    with stage(stages, "resample"):
        even = tio.Resample(1.0)(image)
    with stage(stages, "normalize"):
        unit = tio.RescaleIntensity(out_min_max=(-0.25, 0.75), in_min_max=(-1000, 400))(tio.Clamp(-1000, 400)(even))
    with stage(stages, "save"):
        np.save(out / "unit.npy", unit.numpy())


if __name__ == "__main__":
    run(work)
