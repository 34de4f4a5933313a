"""
What a recipe changes
=====================

:func:`hilum.plot.compare` applies two recipes to one scan: here hilum's default, and the steps of a
popular tutorial of 2017. Below: how far common mistakes of such code would move the nodules of this scan.
"""

import hilum
from hilum.phantom import make_phantom

scan = make_phantom(seed=1, shape=(60, 128, 128), spacing=(5.0, 3.0, 3.0)).scan
figure = hilum.plot.compare(scan, "default", "tutorial2017")
