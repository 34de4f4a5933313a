"""What the set-up compiles: after it, the tutorial's steps on a scan of DICOM wait for no compiler."""

from __future__ import annotations

import numpy as np
from compile_kernels import OBLIQUE, compile_kernels

import hilum
from hilum._kernels.compile import compiler
from hilum.ops.morphology import dilate
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import write_dicom_series


def work(folder):
    scan = hilum.read(folder)
    even = hilum.resample(scan.ct, spacing=1.0, order=3, grid="corner")
    lungs = hilum.segment_lungs(even, method="tutorial3d")
    hilum.segment_lungs(scan.ct, method="tutorial2d")
    dilate(lungs, radius_mm=5.0)
    hilum.resample(scan, like=hilum.Geometry((9, 9, 9), (5.0, 5.0, 5.0), scan.ct.geometry.center, OBLIQUE))
    return hilum.normalize(even, lower=-1000.0, upper=400.0, mean=0.25)


def test_a_scan_finds_its_kernels_compiled(tmp_path, monkeypatch):
    compile_kernels()
    write_dicom_series(make_phantom(seed=2, shape=(64, 140, 140), spacing=(1.25, 0.7, 0.7)), tmp_path / "scan")
    asked = []
    monkeypatch.setattr(compiler, "compile_kernel", lambda kernel, _: asked.append(kernel.function.__name__) or 1 / 0)
    assert np.isfinite(work(tmp_path / "scan").array).all()
    assert not asked
