"""
A first notebook
================

Read a scan, look at it, resample it, segment its lungs, and run many: what the cells of a notebook show. A scan, a
volume, a mask or a run as the value of a cell shows itself, and so does a figure; no ``%matplotlib`` is needed.

Three scans of phantoms stand in for data. Take your own folder instead: of DICOM series, or of volume files.
"""

from pathlib import Path
from tempfile import mkdtemp

import hilum
from hilum.phantom import make_phantom
from hilum.phantom.files import write_luna16

data = Path(mkdtemp()) / "LUNA16"
write_luna16([make_phantom(seed=seed, shape=(96, 160, 160), spacing=(3.4, 2.2, 2.2)) for seed in (1, 2, 3)], data)
files = sorted(data.rglob("*.mhd"))

# %%
# Read
# ----
# A scan has its voxels in Hounsfield units, their geometry, nodules, and a note for everything odd that was read. The
# pictures go through the lungs; rings are nodules.

scan = hilum.read(files[0], annotations=data / "annotations.csv")
scan

# %%
# Look
# ----
# Every picture is a function of ``hilum.plot``; the Tab key lists them.

hilum.plot.nodules(scan, most=2)

# %%
# Resample
# --------
# A resampled scan keeps its nodules and notes.

fine = hilum.resample(scan, 2.0)
fine.ct

# %%
# Lungs
# -----
# A mask shows its labels in color, with their volumes: 1 is the right lung, 2 the left one.

lungs = hilum.segment_lungs(fine)
lungs

# %%
hilum.plot.montage(fine, lungs=lungs, every=10, columns=6)

# %%
# Run
# ---
# In a shell: ``hilum run LUNA16 --recipe luna16 --out OUT``. The same in Python, and what the run left behind:

from hilum import batch

out = data.parent / "OUT"
refs, refused = batch.index([data])
batch.run(refs, hilum.recipe("luna16"), out, refused=refused)
run = hilum.open_run(out)
run

# %%
# A scan of a run reads its volumes when they are asked for.

one = run[0]
hilum.plot.overview(one, slices=4)

# %%
# What is known of all scans is a table of columns.

table = run.table()
for scan_id, right, left in zip(run.ids, table["lung_right_ml"], table["lung_left_ml"], strict=True):
    print(f"{scan_id}  right {right:.0f} ml, left {left:.0f} ml")
