"""
Every n-th slice in one picture
===============================

:func:`hilum.plot.montage` draws every n-th slice in any plane, to scale, with outlines: the right lung
blue, the left lung orange, nodules red. The patient's right is on the left, as in radiology.
"""

import hilum
from hilum.phantom import make_phantom

scan = make_phantom(seed=1, shape=(80, 128, 128)).scan
lungs = hilum.segment_lungs(scan)
figure = hilum.plot.montage(scan, every=4, columns=5, lungs=lungs)

# %%
# Coronal slices, with the head on top, in the bone window.

figure = hilum.plot.montage(scan, plane="coronal", every=10, columns=5, preset="bone")
