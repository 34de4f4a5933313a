"""The tutorial's work in SimpleITK, with linear interpolation, as in most scripts.

python bench/contenders/simpleitk.py FOLDER... OUT
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk  # noqa: N813 - as everybody calls it
from clock import Stages, run, stage

if TYPE_CHECKING:
    from pathlib import Path


def work(folder: Path, out: Path, stages: Stages) -> None:
    """Load, resample to 1 mm, lungs by threshold and components, dilation by a ball, normalization, two files."""
    with stage(stages, "load"):
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
        image = sitk.Cast(reader.Execute(), sitk.sitkInt16)
    with stage(stages, "resample"):
        size = [round(n * s) for n, s in zip(image.GetSize(), image.GetSpacing(), strict=True)]
        even = sitk.Resample(
            image, size, sitk.Transform(), sitk.sitkLinear, image.GetOrigin(), [1.0] * 3, image.GetDirection(), -1024.0
        )
    with stage(stages, "tutorial3d"):
        air = even < -320
        outside = sitk.ConnectedThreshold(air, [(0, 0, 0)], 1, 1)
        parts = sitk.RelabelComponent(sitk.ConnectedComponent(sitk.And(air, sitk.Not(outside))), sortByObjectSize=True)
        lungs = sitk.BinaryFillhole(parts == 1)
    with stage(stages, "dilate"):
        sitk.BinaryDilate(lungs, [5, 5, 5], sitk.sitkBall)
    with stage(stages, "normalize"):
        unit = sitk.IntensityWindowing(sitk.Cast(even, sitk.sitkFloat32), -1000.0, 400.0, 0.0, 1.0) - 0.25
    with stage(stages, "save"):
        np.save(out / "mask.npy", sitk.GetArrayViewFromImage(lungs))
        np.save(out / "unit.npy", sitk.GetArrayViewFromImage(unit))


if __name__ == "__main__":
    run(work)
