"""
Hounsfield units and tissues
============================

What values does a scan hold, and which tissues have them? :func:`hilum.pictures.histogram.histogram` counts every voxel
and draws the ranges of :data:`hilum.TISSUES` below. They overlap: a value alone proves no tissue.
"""

import numpy as np

import hilum
from hilum.phantom.chest import make_phantom
from hilum.pictures.histogram import histogram

scan = make_phantom(seed=1, shape=(80, 128, 128)).scan
figure = histogram(scan.ct)

# %%
# Inside the lungs alone there is air, lung, and the vessels' blood.

lungs = hilum.segment_lungs(scan.ct)
figure = histogram(scan.ct, mask=lungs, bins=120)

# %%
# The same table labels a volume. Where ranges overlap, the order of the table decides.

labels = hilum.tissue_map(scan.ct)
for number, tissue in enumerate(hilum.TISSUES, 1):
    share = np.mean(labels.array == number)
    if share:
        print(f"{tissue.name:26s}{tissue.lower:6g} to {tissue.upper:5g} HU {100 * share:6.2f} %")
