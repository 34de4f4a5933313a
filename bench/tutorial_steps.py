"""What the mistakes of the 2017 tutorial change on real scans: one row a scan.

    python bench/tutorial_steps.py SCAN ...

SCAN is a DICOM series or a volume file. Columns: neighboring slices with one `int(z)`, whose order is left to chance;
by how much the last voxel along z, y, x is believed elsewhere than it is after the resampling to 1 mm; milliliters of
the tutorial's lung mask, on hilum's grid of 1 mm, and of hilum's right and left lung.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np

import hilum

LAYOUT = "{:28}{:>7}{:>13}{:>18}{:>14}{:>13}"


def main() -> int:
    if not sys.argv[1:] or sys.argv[1].startswith("-"):
        print(__doc__)
        return 2
    print(LAYOUT.format("scan", "slices", "same int(z)", "grid off by, mm", "tutorial, ml", "hilum, ml"))
    for path in map(Path, sys.argv[1:]):
        ct = hilum.read(path).ct
        heights = [int(ct.geometry.index_to_world((k, 0, 0))[2]) for k in range(ct.shape[0])]
        same = sum(a == b for a, b in pairwise(heights))
        off = "/".join(f"{believed_off(n, s):.1f}" for n, s in zip(ct.shape, ct.spacing, strict=True))
        iso = hilum.resample(ct, 1.0)
        theirs = hilum.segment_lungs(iso, method="tutorial3d").volume_ml()
        right, left = (hilum.segment_lungs(iso).volumes_ml().get(name, 0.0) for name in ("right lung", "left lung"))
        ours = f"{right:.0f} + {left:.0f}"
        name = "/".join(path.parts[-2:])
        print(LAYOUT.format(name[-27:], ct.shape[0], same, off, round(theirs), ours))
    return 0


def believed_off(count: int, spacing: float) -> float:
    """By how much `scipy.ndimage.zoom` to 1 mm moves the last voxel against the spacing that the shape tells."""
    new = round(count * spacing)
    return abs((new - 1) * count * spacing / new - (count - 1) * spacing) if new else np.nan


if __name__ == "__main__":
    sys.exit(main())
