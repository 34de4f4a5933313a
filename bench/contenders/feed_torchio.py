"""Patches from TorchIO's Queue out of the same .nii.gz, 16 per volume, at voxels of the nodules.

python bench/contenders/feed_torchio.py NIFTI SECONDS ROUNDS
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from patch_clock import MEAN, SIZE, WINDOW, forever, measure

warnings.simplefilter("ignore")  # of torch's and TorchIO's own making

import torch  # noqa: E402 - after the filter
import torchio  # noqa: E402


def main(nifti: Path, seconds: float, rounds: int) -> None:
    torch.set_num_threads(1)
    subjects = [
        torchio.Subject(ct=torchio.ScalarImage(f / "ct.nii.gz"), label=torchio.LabelMap(f / "nodules.nii.gz"))
        for f in sorted((nifti / "scans").iterdir())
    ]
    scale = torchio.RescaleIntensity(out_min_max=(-MEAN, 1 - MEAN), in_min_max=WINDOW)
    queue = torchio.Queue(
        torchio.SubjectsDataset(subjects * 8, transform=scale),
        max_length=64,
        samples_per_volume=16,
        sampler=torchio.LabelSampler(SIZE, label_name="label"),
        num_workers=0,
    )
    loader = torchio.SubjectsLoader(queue, batch_size=4, num_workers=0)
    loop = forever(lambda _: loader)
    measure("TorchIO, Queue", lambda: next(loop), seconds=seconds, rounds=rounds, patches=4)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
