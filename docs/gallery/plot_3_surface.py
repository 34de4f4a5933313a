"""
Lungs, nodules and bones as surfaces
====================================

:func:`hilum.plot.surface` draws transparent lungs with the nodules inside, or all bone above a
threshold.
"""

from dataclasses import replace

import hilum
from hilum.ops.surfaces import surfaces
from hilum.phantom import make_phantom

scan = make_phantom(seed=1, shape=(100, 160, 160)).scan
scan = replace(scan, lungs=hilum.segment_lungs(scan))
figure = hilum.plot.surface(scan, kind="lungs")

# %%
# The phantom has ribs and a spine, here from the front and from the back.

figure = hilum.plot.surface(scan, kind="skeleton", threshold_hu=250, turns_deg=(0, 180))

# %%
# The surfaces are closed, in LPS millimeters. ``hilum plot surface SCAN --mesh lungs.glb`` writes them for
# other programs, as .stl, .ply or .glb.

for mesh in surfaces(scan, kind="lungs"):
    print(f"{mesh.name:12s}{len(mesh.faces):7d} triangles around {mesh.volume_ml:8.2f} ml")
