"""
Every n-th slice in one picture
===============================

:func:`hilum.pictures.montage.montage` draws every n-th slice in any plane, to scale, with outlines: the right lung
blue, the left lung orange, nodules red. The patient's right is on the left, as in radiology.
"""

import hilum
from hilum.phantom import make_phantom
from hilum.pictures.montage import montage

scan = make_phantom(seed=1, shape=(80, 128, 128)).scan
lungs = hilum.segment_lungs(scan.ct)
figure = montage(scan.ct, every=4, columns=5, lungs=lungs, nodules=scan.nodules)

# %%
# Coronal slices, with the head on top, in the bone window.

figure = montage(scan.ct, plane="coronal", every=10, columns=5, preset="bone")
