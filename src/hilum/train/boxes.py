"""The nodules of a scan, and their boxes in a patch of it."""

from math import hypot
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hilum.geometry import Vector
from hilum.ops.patches import poses
from hilum.train.positions import nodule_spheres
from hilum.train.runs import ListedScan


class NoduleTable(NamedTuple):
    """The nodules inside a scan: voxels (z, y, x); (x, y, z), mm, with the diameter, mm; labels; spacing."""

    voxels: NDArray[np.float64]
    spheres: NDArray[np.float64]
    labels: NDArray[np.int64]
    spacing: Vector

    def boxes(self, pose: poses.Pose, rows: int) -> dict[str, Any]:
        """Give the boxes of the nodules in a patch, as `hilum.PatchDataset` describes them, in so many rows."""
        which, boxes = patch_boxes(pose, self.spacing, self.voxels, self.spheres[:, 3])
        item: dict[str, Any] = {
            "boxes": boxes,
            "boxes_world": self.spheres[which],
            "box_nodules": self.labels[which],
        }
        for name, values in item.items():
            item[name] = np.zeros((rows, *values.shape[1:]), values.dtype)
            item[name][: len(which)] = values
        return item


def nodule_table(scan: ListedScan) -> NoduleTable:
    """List the nodules inside a scan."""
    inside = scan.nodules_inside
    spheres = nodule_spheres(inside)
    labels = np.array([nodule.label for nodule in inside], np.int64)
    return NoduleTable(scan.geometry.world_to_index(spheres[:, :3]), spheres, labels, scan.geometry.spacing)


def patch_boxes(
    pose: poses.Pose, spacing: Vector, centers: NDArray[np.float64], diameters: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Give the boxes of the nodules whose centers are in a patch.

    Parameters
    ----------
    pose : Pose
        Where the patch is, and how it is turned and zoomed.
    spacing : tuple of float, (z, y, x), mm
        The scan's spacing.
    centers : ndarray, shape (n, 3), (z, y, x)
        Voxel indices of the scan.
    diameters : ndarray, shape (n,), mm
        Of the nodules.

    Returns
    -------
    which : ndarray of int, shape (m,)
        Indices of the nodules.
    boxes : ndarray of float32, shape (m, 6)
        First and last corner, (z, y, x, z, y, x), as voxel indices of the patch; whole numbers are voxel centers. A
        nodule is a sphere, so a rotation does not change its box. Not clipped at the patch's border.
    """
    offset = centers - pose.center
    if pose.matrix == poses.IDENTITY:
        widths = np.divide(1.0, spacing)
    else:
        offset = offset @ np.array(pose.inverse).T
        dz, dy, dx = spacing
        widths = np.array([hypot(z / dz, y / dy, x / dx) for z, y, x in pose.inverse])
    edge = np.array(pose.size) / 2
    which = np.flatnonzero((np.abs(offset) <= edge).all(axis=1))
    middle = offset[which] + (edge - 0.5)
    half = diameters[which, None] / 2 * widths
    return which, np.concatenate([middle - half, middle + half], axis=1).astype(np.float32)
