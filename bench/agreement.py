"""Compare hilum's recipe `tutorial2017` with the 2017 tutorial's own code on a DICOM folder.

    python bench/agreement.py FOLDER [--tutorial ../shared/reference/tutorial.py]

Prints five lines: HU, resampled, 3-D mask, 2-D mask, normalized. Exits 1 if a bound is exceeded. The tutorial needs
about 3 GiB and half a minute.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import hilum

ROOT = Path(__file__).resolve().parents[1]
EQUAL_SHARE, MASK_SHARE, UNIT_TOLERANCE = 0.9999, 1e-6, 1e-3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tutorial", type=Path, default=ROOT.parent / "shared" / "reference" / "tutorial.py")
    arguments = parser.parse_args()
    if not arguments.tutorial.is_file():
        print(f"{arguments.tutorial}: the tutorial's code is missing; give its path with --tutorial", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        return compare(arguments.folder, arguments.tutorial, Path(scratch))


def compare(folder: Path, tutorial: Path, scratch: Path) -> int:
    subprocess.run([sys.executable, tutorial, folder, scratch / "t"], check=True, stdout=subprocess.DEVNULL)
    theirs = {part: np.load(scratch / f"t_{part}.npy") for part in ("hu", "rs", "mask", "norm", "seg2d")}
    command = [sys.executable, "-m", "hilum.cli", "run", folder, "--out", scratch / "out"]
    subprocess.run([*command, "--recipe", "tutorial2017", "--format", "npy"], check=True, stdout=subprocess.DEVNULL)
    done = next((scratch / "out" / "scans").iterdir())
    unit, lungs = np.load(done / "ct.npy"), np.load(done / "lungs.npy")

    scan = hilum.read(folder)
    ours = hilum.resample(scan.ct, spacing=1.0, order=3, grid="corner")
    same_array = hilum.segment_lungs(hilum.Volume(theirs["rs"], ours.geometry), method="tutorial3d").array
    flat = hilum.segment_lungs(scan.ct, method="tutorial2d").array
    masked = np.where(flat > 0, scan.ct.array + np.int16(1024), 0)

    difference = np.abs(ours.array.astype(int) - theirs["rs"])
    same, ends = count(same_array, theirs["mask"]), count(lungs, theirs["mask"])
    slices = int((masked == theirs["seg2d"]).all(axis=(1, 2)).sum())
    lines = [
        ("HU", f"{count(scan.ct.array, theirs['hu'])} voxels differ", count(scan.ct.array, theirs["hu"]) == 0),
        (
            "resampled",
            f"at most {difference.max()} HU difference, {100 * (difference == 0).mean():.5f} % of voxels equal",
            difference.max() <= 1 and (difference == 0).mean() >= EQUAL_SHARE,
        ),
        (
            "3-D mask",
            f"{same} voxels differ on the same array, {ends} of {lungs.size} end to end",
            same == 0 and ends <= MASK_SHARE * lungs.size,
        ),
        ("2-D mask", f"{slices} of {len(flat)} slices identical", slices == len(flat)),
        (
            "normalized",
            f"at most {np.abs(unit - theirs['norm']).max():.2e} apart",
            np.abs(unit - theirs["norm"]).max() <= UNIT_TOLERANCE,
        ),
    ]
    for name, text, holds in lines:
        print(f"{name:11s}{'holds ' if holds else 'FAILS '} {text}")
    return 0 if all(holds for _, _, holds in lines) else 1


def count(one: np.ndarray, other: np.ndarray) -> int:
    """Count the voxels that differ; arrays of different shapes differ everywhere."""
    return int((one != other).sum()) if one.shape == other.shape else max(one.size, other.size)


if __name__ == "__main__":
    sys.exit(main())
