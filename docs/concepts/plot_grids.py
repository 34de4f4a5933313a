"""
Grids: center and corner
========================

Resampling to another voxel size asks two questions: how many voxels, and where do they lie? Two answers are common.
They put the same anatomy at different indices, and an index that is computed for one and used on the other is wrong
by up to the difference of the voxel sizes.
"""

# %%
# Sixty slices of 5 mm, to be resampled to 1 mm:
#
# * the **center** grid (hilum's default) has exactly the spacing asked for, and its center is that of the scan. It
#   covers the scan's voxels to their outer edges, as the Image Biomarker Standardisation Initiative prescribes;
# * the **corner** grid is what ``scipy.ndimage.zoom`` gives: the first and last voxel *centers* stay where they are,
#   and the spacing comes out slightly different from what was asked for.

import numpy as np
from matplotlib.figure import Figure

import hilum

scan = hilum.Geometry((60, 100, 100), (5.0, 1.0, 1.0))
center = hilum.resampled_geometry(scan, spacing=1.0, grid="center")
corner = hilum.resampled_geometry(scan, spacing=1.0, grid="corner")
for name, grid in (("scan", scan), ("center", center), ("corner", corner)):
    first, last = grid.index_to_world([(0, 0, 0), (grid.shape[0] - 1, 0, 0)])[:, 2]
    print(
        f"{name:7s}{grid.shape[0]:4d} slices of {grid.spacing[0]:.5f} mm, first at {first:4.1f}, last at {last:.1f} mm"
    )

# %%
# Seen from the side, with fewer voxels (three of 5 mm) so that each is visible. Dots are centers, boxes are voxels:

from matplotlib.patches import Rectangle

few = hilum.Geometry((3, 1, 1), (5.0, 1.0, 1.0))
figure = Figure(figsize=(10, 3.2), layout="constrained")
axes = figure.subplots()
rows = [
    ("scan, 5 mm", few, "0.35"),
    ("center grid, 1 mm", hilum.resampled_geometry(few, spacing=1.0), "#0072b2"),
    ("corner grid, 1 mm asked for", hilum.resampled_geometry(few, spacing=1.0, grid="corner"), "#d55e00"),
]
for row, (name, grid, color) in enumerate(rows):
    step = grid.spacing[0]
    for z in grid.index_to_world([(k, 0, 0) for k in range(grid.shape[0])])[:, 2]:
        axes.add_patch(Rectangle((z - step / 2, row - 0.3), step, 0.6, fc="white", ec=color))
        axes.plot(z, row, ".", color=color)
    axes.text(-4.4, row, name, ha="right", va="center", color=color)
for edge in (-2.5, 12.5):
    axes.axvline(edge, color="0.7", linewidth=0.8, linestyle="--", zorder=0)
axes.set(xlim=(-8.5, 13.5), ylim=(2.6, -0.6), xlabel="z in mm; dashed: the outer edges of the scan", yticks=[])
axes.set_xticks(range(-3, 14))
axes.spines["bottom"].set_bounds(-3, 13)
for side in ("top", "left", "right"):
    axes.spines[side].set_visible(False)
figure

# %%
# What v * s / s' does
# --------------------
#
# Much copied code takes an annotation's voxel v on the old grid (spacing s) to v * s / s' on the new one. That is
# right on neither grid. Measured, in millimeters along z:

s, wanted = scan.spacing[0], 1.0
voxels = np.arange(scan.shape[0])
world = scan.index_to_world(np.stack([voxels, voxels * 0, voxels * 0], axis=1))
errors = {}
for name, grid in (("center", center), ("corner", corner)):
    true = grid.world_to_index(world)[:, 0]
    errors[name] = (true - voxels * s / wanted) * grid.spacing[0]
    least, most = errors[name].min(), errors[name].max()
    print(f"{name} grid: too low by {least:.2f} to {most:.2f} mm; s - s' = {s - wanted:g} mm")

figure = Figure(figsize=(8, 3.4), layout="constrained")
axes = figure.subplots()
axes.plot(voxels, errors["center"], color="#0072b2", label="on the center grid: (s - s') / 2 everywhere")
axes.plot(voxels, errors["corner"], color="#d55e00", label="on the corner grid: grows to nearly s - s'")
axes.axhline(0, color="0.5", linewidth=0.8)
axes.set(xlabel="slice v of the scan", ylabel="v * s / s' is too low by, mm", ylim=(-0.4, 5))
axes.legend(fontsize=9)
axes.grid(color="0.9", linewidth=0.6)
figure

# %%
# At the last slices a nodule of 4 mm is missed by its own diameter. hilum never carries an index from grid to grid:
# a nodule stays in world millimeters, and each grid is asked where that is.

point = scan.index_to_world((57, 50, 50))
for name, grid in (("scan", scan), ("center", center), ("corner", corner)):
    index = grid.world_to_index(point)
    print(f"{name:7s} z index {index[0]:8.3f}, back in the world {grid.index_to_world(index)}")

# %%
# Both grids carry their true geometry
# ------------------------------------
#
# Whichever grid is chosen, the file that is written says where its voxels are. So both put structures at the same
# place in the patient, here the center of mass of a phantom's nodule drawn on each; and the corner grid is there
# for results that must match those of the 2017 tutorials.

from hilum.phantom.chest import make_phantom

phantom = make_phantom(seed=5, shape=(60, 192, 192), spacing=(5.0, 2.0, 2.0)).scan
nodule = phantom.nodules[0]
for name in ("center", "corner"):
    grid = hilum.resampled_geometry(phantom.ct.geometry, spacing=1.0, grid=name)
    drawn = hilum.mask_nodules(grid, [nodule])
    middle = grid.index_to_world(np.argwhere(drawn.array).mean(axis=0))
    print(f"{name}: the mask's center lies {np.linalg.norm(middle - nodule.center):.2f} mm from the annotation")
