"""
The steps of a lung segmentation
================================

The 2017 tutorial segments the lungs slice by slice, in eight steps. :func:`hilum.plot.steps` draws each.
"""

import hilum
from hilum.phantom import make_phantom

scan = make_phantom(seed=1, shape=(80, 192, 192)).scan
figure = hilum.plot.steps(scan, method="tutorial2d")

# %%
# hilum's own method works on the whole volume, first on cells of about 3 mm. The same slice:

figure = hilum.plot.steps(scan, method="hilum")
