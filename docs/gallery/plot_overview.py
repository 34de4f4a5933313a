"""
One scan in one picture
=======================

:func:`hilum.pictures.overview.overview` draws a preprocessed scan in three planes, the lungs outlined and the nodules
ringed to scale.
"""

# %%
# A phantom chest, preprocessed by the recipe of LUNA16: 1 mm voxels, lungs grown by 5 mm so that nodules on the wall
# are inside.

import hilum
from hilum.datasets.phantom import make_phantom
from hilum.pictures.overview import overview

phantom = make_phantom(seed=2017, shape=(140, 256, 256), spacing=(2.5, 1.4, 1.4))
scan = hilum.preprocess(phantom.scan, hilum.recipe("luna16"))

# %%
# The right lung blue, the left one orange, nodules vermilion; the patient's right is on the picture's left. A slice
# shows the ring of a nodule only where it cuts its sphere.

overview(scan)
