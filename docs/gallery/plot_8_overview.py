"""
A whole scan at a glance
========================

:func:`hilum.plot.overview` draws a preprocessed scan in three planes.
"""

import hilum
from hilum.phantom import make_phantom

scan = make_phantom(seed=1, shape=(80, 128, 128)).scan
figure = hilum.plot.overview(hilum.preprocess(scan, "default"), slices=4)
