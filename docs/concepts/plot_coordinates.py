"""
Coordinates in one picture
==========================

One rule holds everywhere in hilum: **voxel things are (z, y, x); world things are (x, y, z) in LPS millimeters.**
LPS means that x grows to the patient's left, y to the back (posterior) and z to the head (superior), as in DICOM
and ITK. NIfTI has RAS: x to the right, y to the front. Only the signs of x and y differ.
"""

# %%
# A phantom with a nodule whose world position is known. The picture shows the same two slices three times; only the
# numbers at the axes differ.

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

import hilum
from hilum.phantom import make_phantom

phantom = make_phantom(seed=5, shape=(100, 192, 192), spacing=(3.0, 2.0, 2.0))
scan = phantom.scan
grid = scan.ct.geometry
nodule = scan.nodules[0]
voxel = grid.world_to_index(nodule.center)
print("world (x, y, z), LPS mm:", np.round(nodule.center, 1))
print("voxel (z, y, x):        ", voxel.round(1))
print("world (x, y, z), RAS mm:", np.round(nodule.center, 1) * (-1, -1, 1))

# %%
# Blue arrows show where a coordinate grows. A circle with a cross is an arrow into the page, a circle with a dot an
# arrow out of it. Both rows are the radiologist's view, with the patient's right on the left: from the feet in the
# first row, from the front in the second.

gray = hilum.window(scan.ct, "lung").array
k, j, i = voxel.round().astype(int)
first, last = grid.origin, grid.index_to_world(np.array(grid.shape) - 1)
sx, sy, sz = grid.spacing[::-1]

BLUE, MARK = "#0072b2", "#d55e00"
OUT, INTO = "\N{CIRCLED DOT OPERATOR}", "\N{CIRCLED TIMES}"
HALO = [withStroke(linewidth=3, foreground="white")]


def draw(axes, picture, extent, position, names, grows):
    """Draw one slice with numbers at its axes, a circle at the nodule, and arrows where coordinates grow."""
    axes.imshow(picture, cmap="gray", extent=extent, aspect="auto", interpolation="nearest")
    axes.plot(*position, "o", mfc="none", mec=MARK, ms=13, mew=2)
    for name, (dx, dy) in zip(names, grows, strict=True):
        at = {"xycoords": "axes fraction", "path_effects": HALO, "color": BLUE, "weight": "bold"}
        end = 0.8 + 0.15 * dx, 0.8 + 0.15 * dy
        arrow = {"arrowstyle": "-|>", "color": BLUE, "lw": 2, "shrinkA": 0, "shrinkB": 0, "path_effects": HALO}
        axes.annotate("", end, (0.8, 0.8), xycoords="axes fraction", arrowprops=arrow)
        axes.annotate(name, (end[0] - 0.05 * dy, end[1] + 0.06 * dx), ha="center", va="center", fontsize=13, **at)


def write(axes, top, bottom, page):
    """Write the sides of the patient, and the axis across the page."""
    style = {"xycoords": "axes fraction", "path_effects": HALO, "fontsize": 9, "ha": "center"}
    for text, x, y in ((top, 0.5, 0.94), (bottom, 0.5, 0.02), ("right", 0.08, 0.48), ("left", 0.93, 0.48)):
        axes.annotate(text, (x, y), **style)
    axes.annotate(page, (0.09, 0.9), **style | {"fontsize": 13, "color": BLUE, "weight": "bold"})


# %%
# The number of a pixel is that of its center, so each picture extends half a voxel beyond the first and last numbers.

nz, ny, nx = grid.shape
left, back, head = nodule.center
edges = [(a - s / 2, b + s / 2) for a, b, s in zip(first, last, (sx, sy, sz), strict=True)]
columns = [
    ("voxels: array[z, y, x]", voxel[::-1], [(-0.5, nx - 0.5), (-0.5, ny - 0.5), (-0.5, nz - 0.5)], 1),
    ("world: (x, y, z) in mm, LPS", nodule.center, edges, 1),
    ("NIfTI's world: (x, y, z) in mm, RAS", (-left, -back, head), [*-np.array(edges[:2]), edges[2]], -1),
]

figure = Figure(figsize=(12, 8), layout="constrained")
rows = figure.subplots(2, 3, gridspec_kw={"height_ratios": [384, 300]})
for (axial, coronal), (title, (x, y, z), (xs, ys, zs), sign) in zip(rows.T, columns, strict=True):
    draw(axial, gray[k], (*xs, *ys[::-1]), (x, y), "xy", [(sign, 0), (0, -sign)])
    write(axial, "front", "back", f"{INTO} z")
    draw(coronal, gray[::-1, j], (*xs, *zs), (x, z), "xz", [(sign, 0), (0, 1)])
    write(coronal, "head", "feet", f"{INTO if sign > 0 else OUT} y")
    axial.set(title=title, xlabel="x", ylabel="y")
    coronal.set(xlabel="x", ylabel="z")
figure

# %%
# A voxel has a center
# --------------------
#
# The origin of a grid is the position of the **center** of voxel (0, 0, 0), as in DICOM's Image Position (Patient)
# and ITK. An integer index is the center of a voxel, and the grid extends half a voxel beyond its first and last
# centers. A position is in a scan if it is within the voxels' outer edges:

outer = np.array([-0.5, -0.5, -0.5])
print("center of voxel (0, 0, 0):", grid.index_to_world((0, 0, 0)))
print("its outer corner:         ", grid.index_to_world(outer))
inside, outside = grid.index_to_world([outer + 0.01, outer - 0.01])
print("inside the scan:          ", grid.contains(inside), grid.contains(outside))

figure = Figure(figsize=(8, 4.2), layout="constrained")
axes = figure.subplots()
for row, column in np.ndindex(3, 5):
    x, y = grid.index_to_world((0, row, column))[:2]
    axes.add_patch(Rectangle((x - sx / 2, y - sy / 2), sx, sy, fc="#eef3f8", ec="0.45"))
    axes.plot(x, y, ".", color="0.3")
    axes.text(x, y + 0.25, f"[0, {row}, {column}]", ha="center", va="top", fontsize=9, color="0.25")
x, y = first[:2]
axes.plot(x, y, "o", color=MARK, ms=9)
line = {"arrowstyle": "-", "color": MARK}
axes.annotate(f"origin ({x:g}, {y:g}) mm", (x, y), (x + 0.2, y - 1.7), color=MARK, fontsize=11, arrowprops=line)
axes.set(xlim=(x - 1.6, x + 9.6), ylim=(y + 5.6, y - 2.2), aspect="equal", xlabel="x in mm, LPS", ylabel="y in mm, LPS")
axes.set_title("voxels [z, y, x] of the first slice, seen from the feet")
figure

# %%
# Direction counts
# ----------------
#
# The axes of an array need not run to head, back and left. Some scans of LUNA16 are stored with x and y reversed
# (``TransformMatrix = -1 0 0 0 -1 0 0 0 1``). There the nodule has another index and the same world position.
# ``(world - origin) / spacing``, without the direction, gives a wrong index:

from hilum.phantom.files import reverse_in_plane

flipped = reverse_in_plane(scan.ct).geometry
right = flipped.world_to_index(nodule.center)
wrong = ((np.array(nodule.center) - flipped.origin) / flipped.spacing[::-1])[::-1]
print("direction of the array axes z, y, x:", flipped.direction)
print("voxel (z, y, x), by the geometry:   ", right.round(1), "inside:", bool(flipped.contains(nodule.center)))
print("without the direction:              ", wrong.round(1))

# %%
# `hilum.reorient` reorients such an array to head, back and left. The nodule's world position does not change:

reoriented = hilum.reorient(reverse_in_plane(scan.ct))
again = reoriented.geometry.world_to_index(nodule.center)
print("again:", again.round(1), np.array_equal(reoriented.array, scan.ct.array))

# %%
# In a NIfTI file
# ---------------
#
# A NIfTI file counts voxels (x, y, z) and the world in RAS. hilum changes both when it writes and reads, and
# nowhere else:

import tempfile
from pathlib import Path

import nibabel

with tempfile.TemporaryDirectory() as folder:
    hilum.write(scan, Path(folder, "ct.nii.gz"))
    image = nibabel.load(Path(folder, "ct.nii.gz"))
    print("shape (x, y, z):", image.shape)
    print("nibabel's world:", (image.affine @ [*voxel[::-1], 1])[:3].round(1))
    print("hilum's world:  ", np.round(nodule.center, 1))
