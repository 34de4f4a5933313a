"""A part of the tutorial's work in MONAI: load, resample, scale intensities; no lungs, no dilation.

python bench/contenders/monai_transforms.py FOLDER... OUT
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from clock import Stages, run, stage

warnings.simplefilter("ignore")  # of torch's and MONAI's own making

from monai.transforms import LoadImage, ScaleIntensityRange, Spacing  # noqa: E402 - after the filter

if TYPE_CHECKING:
    from pathlib import Path


def work(folder: Path, out: Path, stages: Stages) -> None:
    """Load, resample linearly to 1 mm, normalize, one file."""
    with stage(stages, "load"):
        image = LoadImage(image_only=True, ensure_channel_first=True, reader="ITKReader")(folder)
    with stage(stages, "resample"):
        even = Spacing(pixdim=(1.0, 1.0, 1.0), mode="bilinear")(image)
    with stage(stages, "normalize"):
        unit = ScaleIntensityRange(a_min=-1000, a_max=400, b_min=-0.25, b_max=0.75, clip=True)(even)
    with stage(stages, "save"):
        np.save(out / "unit.npy", unit.numpy())


if __name__ == "__main__":
    run(work)
