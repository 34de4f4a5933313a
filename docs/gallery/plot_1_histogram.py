"""
Hounsfield units and tissues
============================

What values does a scan hold, and which tissues have them? :func:`hilum.plot.histogram` counts every voxel
and draws the ranges of the tissues of a chest below. They overlap, so a value alone does not identify a tissue.
"""

import numpy as np

import hilum
from hilum.phantom import make_phantom

scan = make_phantom(seed=1, shape=(80, 128, 128)).scan
figure = hilum.plot.histogram(scan)

# %%
# All of :data:`hilum.TISSUES`, which also has those of the head:

figure = hilum.plot.histogram(scan, tissues="all")

# %%
# Or some of them:

figure = hilum.plot.histogram(scan, tissues=["air", "lung", "bone"])

# %%
# Inside the lungs there are only air, lung tissue and blood vessels.

lungs = hilum.segment_lungs(scan)
figure = hilum.plot.histogram(scan, mask=lungs, bins=120)

# %%
# The same table labels a volume. If ranges overlap, the order of the table decides.

labels = hilum.tissue_map(scan)
for number, tissue in enumerate(hilum.TISSUES, 1):
    fraction = np.mean(labels.array == number)
    if fraction:
        print(f"{tissue.name:26s}{tissue.lower:6g} to {tissue.upper:5g} HU {100 * fraction:6.2f} %")
