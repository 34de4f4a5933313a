"""
Grids: center and corner
========================

Resampling to another voxel size needs two decisions: how many voxels, and where are they? There are two common answers.
They give the same anatomy different indices. An index of one grid that is used on the other is wrong by up to the
difference of the voxel sizes.
"""

# %%
# Sixty slices of 5 mm are resampled to 1 mm:
#
# * the **center** grid (hilum's default) has exactly the requested spacing, and the same center as the scan. It
#   covers the scan's voxels to their outer edges, as the Image Biomarker Standardisation Initiative prescribes;
# * the **corner** grid is what ``scipy.ndimage.zoom`` gives: the first and last voxel *centers* stay where they are,
#   and the spacing differs slightly from the requested one.

import numpy as np
from matplotlib.figure import Figure

import hilum

scan = hilum.Geometry((60, 100, 100), (5.0, 1.0, 1.0))
center = hilum.resampled_geometry(scan, 1.0, grid="center")
corner = hilum.resampled_geometry(scan, 1.0, grid="corner")
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
    ("center grid, 1 mm", hilum.resampled_geometry(few, 1.0), "#0072b2"),
    ("corner grid, 1 mm requested", hilum.resampled_geometry(few, 1.0, grid="corner"), "#d55e00"),
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
# Popular code maps an annotation's voxel v on the old grid (spacing s) to v * s / s' on the new one. That is wrong on
# both grids. The error, in millimeters along z:

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
# At the last slices a nodule of 4 mm is missed by its own diameter. hilum never uses an index on another grid: a nodule
# has a world position in millimeters, and each grid converts it to an index.

point = scan.index_to_world((57, 50, 50))
for name, grid in (("scan", scan), ("center", center), ("corner", corner)):
    index = grid.world_to_index(point)
    print(f"{name:7s} z index {index[0]:8.3f}, back in the world {grid.index_to_world(index)}")

# %%
# Both grids have a true geometry
# -------------------------------
#
# With either grid, the file that is written says where its voxels are. So structures are at the same position in the
# patient, here the center of mass of a phantom's nodule. The corner grid is for results that must match those of the
# 2017 tutorials.

from hilum.phantom import make_phantom

phantom = make_phantom(seed=5, shape=(60, 192, 192), spacing=(5.0, 2.0, 2.0)).scan
nodule = phantom.nodules[0]
for name in ("center", "corner"):
    grid = hilum.resampled_geometry(phantom, 1.0, grid=name)
    mask = hilum.mask_nodules(grid, [nodule])
    middle = grid.index_to_world(np.argwhere(mask.array).mean(axis=0))
    print(f"{name}: the mask's center is {np.linalg.norm(middle - nodule.center):.2f} mm from the annotation")

# %%
# The grid of another scan
# ------------------------
#
# ``like=`` samples a scan at the voxels of another one, wherever they lie in the world, also on an oblique grid. hilum
# does not register scans: both need one frame of reference. What lies beyond the scan becomes air, and a note says so.

turned = hilum.Geometry((60, 120, 120), (2.0, 2.0, 2.0), direction=((0, 0, 1), (-0.6, 0.8, 0), (0.8, 0.6, 0)))
oblique = hilum.Geometry(turned.shape, turned.spacing, np.subtract(nodule.center, turned.center), turned.direction)
part = hilum.resample(phantom, like=oblique)
mask = hilum.mask_nodules(part, [nodule])
middle = oblique.index_to_world(np.argwhere(mask.array).mean(axis=0))
print(f"oblique: the mask's center is {np.linalg.norm(middle - nodule.center):.2f} mm from the annotation")
print(*part.notes[len(phantom.notes) :])
