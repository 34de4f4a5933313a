"""
Every slice on one sheet
========================

:func:`hilum.pictures.montage.montage` draws every n-th slice in any plane, true to scale, lungs and nodules outlined:
the right lung blue, the left one orange, nodules red. The patient's right is on the left, as radiologists have it.
"""

import hilum
from hilum.phantom.chest import make_phantom
from hilum.pictures.montage import montage

scan = make_phantom(seed=1, shape=(80, 128, 128)).scan
lungs = hilum.segment_lungs(scan.ct)
figure = montage(scan.ct, every=4, columns=5, lungs=lungs, nodules=scan.nodules)

# %%
# Coronal slices have the head on top, in a window for bone.

figure = montage(scan.ct, plane="coronal", every=10, columns=5, preset="bone")
