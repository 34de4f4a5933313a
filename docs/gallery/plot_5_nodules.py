"""
Is the mask where the nodule is?
================================

:func:`hilum.plot.nodules` draws each nodule as image, mask and both, in three planes, with a scale. A mask
on the wrong grid, or a flipped one, is easy to see.
"""

from dataclasses import replace

import hilum
from hilum.phantom import make_phantom

scan = make_phantom(seed=1, shape=(150, 256, 256)).scan
figure = hilum.plot.nodules(scan, most=2)

# %%
# The same with a wrong x axis: the center is negated, as if RAS were LPS.

x, y, z = scan.nodules[0].center
wrong = replace(scan, nodules=(replace(scan.nodules[0], center=(-x, y, z)),))
figure = hilum.plot.nodules(wrong)
