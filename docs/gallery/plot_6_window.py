"""
From stored values to gray
==========================

A gray value is the result of a chain: stored value, modality LUT, Hounsfield units, VOI LUT (the window).
:func:`hilum.plot.window` draws one slice in every window of :data:`hilum.WINDOW_PRESETS`, and the curves.
Gray values cannot be converted back, so hilum keeps HU.
"""

import hilum
from hilum.phantom import make_phantom

scan = make_phantom(seed=1, shape=(60, 192, 192)).scan
figure = hilum.plot.window(scan, rescale=(1.0, -1024.0))
