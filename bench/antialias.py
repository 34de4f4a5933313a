"""What a coarser grid keeps of small nodules, and how much noise, by hilum and by the ways that are used today.

    python bench/antialias.py [--spacing 0.6] [--phantoms 40] [--rounds 5]

Balls of 50 HU in a lung of -850 HU, 3, 4 and 6 mm wide, at random places between the voxels, and white noise of 100 HU
in a volume of its own, are brought from cubic voxels to 2, 3 and 4 mm. Contrast is the largest voxel of a ball above
the lung, in percent of its true contrast (mean over the balls); noise is the standard deviation. The ideal noise is
that of a low-pass that keeps just what the new grid can hold.

The ways: hilum with and without antialias; SimpleITK, smoothed first by a Gaussian of half the new voxel (as its
multi-resolution pyramids) or by (step - 1) / 2 voxels (scikit-image's rule), then its B-spline; scikit-image's resize
with anti_aliasing. Prints a table, and the time of hilum's ways for one volume of 300 x 512 x 512, in turn, medians.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK
from skimage.transform import resize

import hilum

if TYPE_CHECKING:
    from collections.abc import Callable

LUNG, NODULE, NOISE, SIZE = -850, 50, 100.0, 48
DIAMETERS, SPACINGS = (3.0, 4.0, 6.0), (2.0, 3.0, 4.0)


def ball(diameter: float, spacing: float, rng: np.random.Generator) -> hilum.Volume:
    """A ball at a random place between the voxels of the middle; voxels at its edge in proportion."""
    fine = 4
    axes = [(np.arange(SIZE * fine) + 0.5) / fine - 0.5 for _ in range(3)]
    middle = (SIZE - 1) / 2 + rng.uniform(-4, 4, 3)
    z, y, x = np.ix_(*[((a - m) * spacing) ** 2 for a, m in zip(axes, middle, strict=True)])
    inside = (z + y + x <= (diameter / 2) ** 2).reshape(SIZE, fine, SIZE, fine, SIZE, fine).mean(axis=(1, 3, 5))
    array = np.rint(LUNG + (NODULE - LUNG) * inside).astype(np.int16)
    return hilum.Volume(array, hilum.Geometry(array.shape, (spacing,) * 3))


def by_sitk(volume: hilum.Volume, spacing: float, sigma: float) -> np.ndarray:
    """Smoothed by a Gaussian of `sigma` mm, then sampled with SimpleITK's B-spline."""
    grid = hilum.resampled_geometry(volume.geometry, spacing)
    image = SimpleITK.GetImageFromArray(volume.array.astype(np.float32))
    image.SetSpacing(volume.spacing[::-1])
    smooth = SimpleITK.SmoothingRecursiveGaussian(image, sigma) if sigma else image
    first = volume.geometry.world_to_index(grid.origin) * volume.spacing[0]
    target = SimpleITK.Image(*map(int, grid.shape[::-1]), SimpleITK.sitkFloat32)
    target.SetSpacing(grid.spacing[::-1])
    target.SetOrigin(first[::-1].tolist())
    return SimpleITK.GetArrayFromImage(
        SimpleITK.Resample(smooth, target, SimpleITK.Transform(), SimpleITK.sitkBSpline, float(LUNG))
    )


def ways(step: float) -> dict[str, Callable[[hilum.Volume, float], np.ndarray]]:
    """The ways to bring a volume to a coarser grid."""
    return {
        "hilum, auto": lambda v, s: hilum.resample(v, s).array,
        "hilum, auto, linear": lambda v, s: hilum.resample(v, s, order="linear").array,
        "hilum, off": lambda v, s: hilum.resample(v, s, antialias="off").array,
        "SimpleITK, sigma step / 2": lambda v, s: by_sitk(v, s, s / 2),
        "SimpleITK, sigma (step - 1) / 2": lambda v, s: by_sitk(v, s, v.spacing[0] * (step - 1) / 2),
        "scikit-image, resize": lambda v, s: resize(
            v.array.astype(np.float32), hilum.resampled_geometry(v, s).shape, order=3, anti_aliasing=True,
            preserve_range=True,
        ),
    }  # fmt: skip


def main() -> None:
    """Print the table and the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spacing", type=float, default=0.6)
    parser.add_argument("--phantoms", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    words = parser.parse_args()
    noise = np.random.default_rng(0).normal(0, NOISE, (160,) * 3).round().astype(np.int16)
    noisy = hilum.Volume(noise, hilum.Geometry(noise.shape, (words.spacing,) * 3))
    print("| to | way | noise | x the ideal | 3 mm | 4 mm | 6 mm |\n| --- | --- | --- | --- | --- | --- | --- |")
    for spacing in SPACINGS:
        step = spacing / words.spacing
        ideal = NOISE * min(1.0, step**-1.5)
        for name, way in ways(step).items():
            left = float(way(noisy, spacing)[2:-2, 2:-2, 2:-2].std())
            kept = []
            for diameter in DIAMETERS:
                rng = np.random.default_rng(1)
                balls = [ball(diameter, words.spacing, rng) for _ in range(words.phantoms)]
                kept.append(100 * np.mean([(way(one, spacing).max() - LUNG) / (NODULE - LUNG) for one in balls]))
            cells = " | ".join(f"{value:.0f} %" for value in kept)
            print(f"| {spacing:g} mm | {name} | {left:.1f} | {left / ideal:.2f} | {cells} |", flush=True)
    array = np.random.default_rng(2).integers(-1000, 400, (300, 512, 512)).astype(np.int16)
    for spacing in ((1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (4.0, 4.0, 4.0)):
        volume = hilum.Volume(array, hilum.Geometry(array.shape, (1.0, 0.6, 0.6)))
        taken: dict[str, list[float]] = {"auto": [], "off": []}
        for turn in range(words.rounds + 1):
            for way in sorted(taken, reverse=bool(turn % 2)):
                started = time.perf_counter()
                hilum.resample(volume, spacing, antialias=way)
                taken[way].append(time.perf_counter() - started)
        ratio = median(a / b for a, b in zip(taken["auto"][1:], taken["off"][1:], strict=True))
        print(f"to {spacing[0]:g} mm: auto {median(taken['auto'][1:]):.3f} s, {ratio:.2f} x off")


if __name__ == "__main__":
    main()
