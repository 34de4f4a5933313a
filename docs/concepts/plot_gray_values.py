"""
Hounsfield units and gray values
================================

A gray value is the result of a chain: *stored value* |to| modality LUT (rescale) |to| *Hounsfield units* |to| VOI LUT
(window) |to| *gray*. Only Hounsfield units have the same meaning on every scanner: water is 0, air -1000.
hilum keeps the Hounsfield units. Gray values cannot be converted back.

.. |to| unicode:: U+2192
"""

# %%
# A slice as a scanner stores it: 12 unsigned bits, which need a rescale.

import tempfile
from pathlib import Path

import numpy as np
import pydicom
from matplotlib.figure import Figure

import hilum
from hilum.phantom import make_phantom
from hilum.phantom.files import write_dicom_series

phantom = make_phantom(seed=5, shape=(60, 192, 192), spacing=(5.0, 2.0, 2.0))
with tempfile.TemporaryDirectory() as folder:
    series = write_dicom_series(phantom, Path(folder, "series"), dialect="slope-2")
    header = pydicom.dcmread(series / "0030.dcm")
    scan = hilum.read(series)

stored = header.pixel_array
slope, intercept = float(header.RescaleSlope), float(header.RescaleIntercept)
print(f"stored values {stored.min()} to {stored.max()}, slope {slope:g}, intercept {intercept:g}")

# %%
# Modality LUT: stored value to HU
# --------------------------------
#
# ``HU = slope * stored + intercept``, with the numbers in the header of each slice, which may differ between slices.
# hilum applies it when it reads:

hu = scan.ct.array[29]
print("the same:", np.array_equal(slope * stored + intercept, hu))
lungs = phantom.lungs.array[29] > 0
print(f"HU {hu.min()} to {hu.max()}; the lungs have {np.median(hu[lungs]):.0f} in the middle")

# %%
# There are two common mistakes. A padding value outside the round field of view, such as -2000, is not in HU: after the
# rescale it is neither air nor water. hilum sets it to -1024. And a file that lost its rescale still looks like a CT:
# hilum compares the histogram with the ranges of air and soft tissue, and adds a note ``not-hu``.

from dataclasses import replace

codes = ((scan.ct.array - int(intercept)) // int(slope)).astype(np.int16)
lost = replace(scan, ct=hilum.Volume(codes, scan.ct.geometry))
for note in hilum.preprocess(lost, "default").notes:
    if note.code == "not-hu":
        print(note)

# %%
# VOI LUT: HU to gray
# -------------------
#
# A window has a center and a width: below it everything is black, above it white. `hilum.window` does what the
# standard says (DICOM PS3.3 C.11.2), to the half unit.

gray = {name: hilum.window(scan.ct, name).array[29] for name in hilum.WINDOW_PRESETS}
figure = Figure(figsize=(11, 3.4), layout="constrained")
for axes, (name, picture) in zip(figure.subplots(1, 4), gray.items(), strict=True):
    preset = hilum.WINDOW_PRESETS[name]
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255)
    axes.set_title(f"{name}\ncenter {preset.center:g}, width {preset.width:g} HU", fontsize=10)
    axes.set_axis_off()
figure

# %%
# The whole chain
# ---------------
#
# Each curve continues the one before. The third is a VOI LUT Sequence, a table instead of a window, as
# `hilum.apply_voi_lut` applies it.

ramp = np.arange(-1400, 1001, dtype=np.int16)
line = hilum.Volume(ramp[None, None], hilum.Geometry((1, 1, ramp.size), (1.0, 1.0, 1.0)))
table = np.round(255 * np.linspace(0, 1, 1401) ** 0.5).astype(int)

STYLES = (("#0072b2", "-"), ("#e69f00", "-"), ("#009e73", "--"), ("#cc79a7", "-"))
figure = Figure(figsize=(11, 3.4), layout="constrained")
rescale, window, lut = figure.subplots(1, 3)
codes = np.arange(0, 1201)
rescale.plot(codes, slope * codes + intercept, color="0.2")
rescale.set(xlabel="stored value", ylabel="HU", title="1. modality LUT (rescale)")
for name, (color, dashes) in zip(hilum.WINDOW_PRESETS, STYLES, strict=True):
    window.plot(ramp, hilum.window(line, name).array[0, 0], dashes, color=color, label=name)
window.legend(fontsize=8)
window.set(xlabel="HU", ylabel="gray value", title="2. VOI LUT: a window ...")
lut.plot(ramp, hilum.apply_voi_lut(line, table=table, first=-1000).array[0, 0], color="0.2")
lut.set(xlabel="HU", ylabel="gray value", title="... or a table")
for axes in (rescale, window, lut):
    axes.grid(color="0.9", linewidth=0.6)
figure

# %%
# Gray values cannot be converted back
# ------------------------------------
#
# A gray value gives only a range of Hounsfield units, and black and white have no bound at all. How many Hounsfield
# units between -1400 and 1000 become one gray value:

for name in ("lung", "mediastinum"):
    values = hilum.window(line, name).array[0, 0]
    counts = np.bincount(values, minlength=256)
    fraction = np.isin(gray[name], (0, 255)).mean()
    print(f"{name}: black {counts[0]}, gray 128 {counts[128]}, white {counts[255]} HU;"
          f" {fraction:.0%} of the slice above is black or white")  # fmt: skip

# %%
# So do not train on pictures (PNG, JPEG, screenshots) if Hounsfield units are available. `hilum.normalize` scales a
# wide range of them to [0, 1] for a network. A finished run keeps the volume in HU unless its recipe says otherwise.
