"""
Is the mask where the nodule is?
================================

:func:`hilum.pictures.nodules.nodules` draws each nodule as image, mask and both, in three planes, with a scale. A mask
that was put on the wrong grid, or flipped, shows at once.
"""

from dataclasses import replace

from hilum.phantom.chest import make_phantom
from hilum.pictures.nodules import nodules

scan = make_phantom(seed=1, shape=(150, 256, 256)).scan
figure = nodules(scan, most=2)

# %%
# What it looks like when the left-right axis is forgotten: the world center negated, as between LPS and RAS.

x, y, z = scan.nodules[0].center
wrong = replace(scan, nodules=(replace(scan.nodules[0], center=(-x, y, z)),))
figure = nodules(wrong)
