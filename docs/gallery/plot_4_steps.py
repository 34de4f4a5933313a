"""
How the lungs are found
=======================

The 2017 tutorial finds lungs slice by slice, in eight steps. :func:`hilum.pictures.steps.steps` shows each.
"""

from hilum.phantom.chest import make_phantom
from hilum.pictures.steps import steps

scan = make_phantom(seed=1, shape=(80, 192, 192)).scan
figure = steps(scan.ct, method="tutorial2d")

# %%
# hilum's own method looks at the whole volume, on cells of some 3 mm first. The same slice:

figure = steps(scan.ct, method="hilum")
