"""Compile the kernels: `python3 dev.py` runs this at set-up, so that nothing waits for a compiler later."""

from __future__ import annotations

import numpy as np

import hilum
from hilum._kernels.intensity.rescale import RULE_SIZE, shift, shift_files
from hilum.geometry import Geometry
from hilum.phantom.chest import make_phantom
from hilum.pipeline import preview_of

OBLIQUE = ((0.0, 0.0, 1.0), (-0.6, 0.8, 0.0), (0.8, 0.6, 0.0))


def compile_kernels() -> None:
    """Run every recipe on a tiny phantom, so that the kernels are compiled and cached."""
    scan = make_phantom(seed=1, shape=(40, 64, 64), spacing=(8.0, 6.0, 6.0)).scan
    for chosen in hilum.RECIPES.values():
        preview_of(hilum.preprocess(scan, chosen), chosen)
    fine = hilum.resample(scan.ct, spacing=(8.0, 3.0, 3.0))  # equal slice spacing takes another kernel
    hilum.segment_lungs(fine, method="tutorial2d")
    hilum.resample(scan.ct, like=Geometry(scan.ct.shape, (8.0, 6.0, 6.0), scan.ct.origin, OBLIQUE))
    for stored in (np.int16, np.uint16):  # DICOM pixels
        frame = np.zeros((2, 2), stored)
        shift(frame, np.zeros(RULE_SIZE, np.int64), out=np.empty((2, 2), np.int16))
        none = np.empty((0, 3), np.int64), np.empty((0, RULE_SIZE), np.int64)
        shift_files(*none, frame, out=np.empty((0, 2, 2), np.int16))


if __name__ == "__main__":
    compile_kernels()
