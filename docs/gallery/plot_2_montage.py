"""
Every n-th slice in one picture
===============================

:func:`hilum.plot.montage` draws every n-th slice in any plane, to scale, with outlines: the right lung
blue, the left lung orange and dashed, nodules yellow. The patient's right is on the left, as in radiology. It
begins and ends with the lungs if they are known; the title says what is left out.
"""

import hilum
from hilum.phantom import make_phantom

scan = make_phantom(seed=1, shape=(80, 128, 128)).scan
lungs = hilum.segment_lungs(scan)
figure = hilum.plot.montage(scan, every=4, columns=5, lungs=lungs)

# %%
# Coronal slices, with the head on top, in the bone window: without lungs, the sheet begins and ends with the body.

figure = hilum.plot.montage(scan, plane="coronal", every=10, columns=5, preset="bone")

# %%
# For a column of a paper: 85 mm wide, 300 dots per inch, no text smaller than 6 points.

figure = hilum.plot.montage(scan, every=6, lungs=lungs, width_mm=85)
