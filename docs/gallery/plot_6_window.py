"""
From stored values to gray
==========================

A gray value is the result of a chain: stored value, modality LUT, Hounsfield units, VOI LUT (the window).
:func:`hilum.pictures.window.window` draws one slice in every window of :data:`hilum.WINDOW_PRESETS`, and the curves.
Gray values cannot be converted back, so hilum keeps HU.
"""

from hilum.phantom import make_phantom
from hilum.pictures.window import window

scan = make_phantom(seed=1, shape=(60, 192, 192)).scan
figure = window(scan, rescale=(1.0, -1024.0))
