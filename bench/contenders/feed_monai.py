"""Patches from MONAI out of the same .nii.gz: read for every patch, for every four, or cached.

python bench/contenders/feed_monai.py NIFTI SECONDS ROUNDS
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from patch_clock import MEAN, SIZE, WINDOW, measure

warnings.simplefilter("ignore")  # of torch's and MONAI's own making

import torch  # noqa: E402 - after the filter
from monai.data import CacheDataset, Dataset  # noqa: E402
from monai.transforms import (  # noqa: E402
    Compose,
    EnsureChannelFirstd,
    FgBgToIndicesd,
    LoadImaged,
    RandCropByPosNegLabeld,
    ScaleIntensityRanged,
)


def main(nifti: Path, seconds: float, rounds: int) -> None:
    torch.set_num_threads(1)
    folders = sorted((nifti / "scans").iterdir())
    files = [{"image": str(f / "ct.nii.gz"), "label": str(f / "nodules.nii.gz")} for f in folders]
    low, high = WINDOW
    whole = [
        LoadImaged(keys=["image", "label"]),
        EnsureChannelFirstd(keys=["image", "label"]),
        ScaleIntensityRanged(keys="image", a_min=low, a_max=high, b_min=-MEAN, b_max=1 - MEAN, clip=True),
    ]
    crop = {"keys": ["image", "label"], "label_key": "label", "spatial_size": (SIZE,) * 3, "pos": 1, "neg": 0}
    for number in (1, 4):
        data = Dataset(files, Compose([*whole, RandCropByPosNegLabeld(**crop, num_samples=number)]))
        turn = iter(range(10**9))
        take = lambda data=data, turn=turn: data[next(turn) % len(files)]  # noqa: E731
        measure(f"MONAI, not cached, {number} a read", take, seconds=seconds, rounds=rounds, patches=number)
    found = {"fg_indices_key": "label_fg_indices", "bg_indices_key": "label_bg_indices"}
    ways = {
        "MONAI, CacheDataset": [RandCropByPosNegLabeld(**crop, num_samples=1)],
        "MONAI, CacheDataset, indices cached": [
            FgBgToIndicesd(keys="label"),
            RandCropByPosNegLabeld(**crop, **found, num_samples=1),
        ],
    }
    for way, last in ways.items():
        data = CacheDataset(files, Compose([*whole, *last]), progress=False, copy_cache=False)
        turn = iter(range(10**9))
        take = lambda data=data, turn=turn: data[next(turn) % len(files)]  # noqa: E731
        measure(way, take, seconds=seconds, rounds=rounds)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
