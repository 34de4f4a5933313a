"""
What a recipe changes
=====================

:func:`hilum.pictures.compare.compare` applies two recipes to one scan: here hilum's default, and the steps of a
popular tutorial of 2017. Below: how far common mistakes of such code would move the nodules of this scan.
"""

import hilum
from hilum.phantom import make_phantom
from hilum.pictures.compare import compare

scan = make_phantom(seed=1, shape=(60, 128, 128), spacing=(5.0, 3.0, 3.0)).scan
figure = compare(scan, hilum.recipe("default"), hilum.recipe("tutorial2017"))
