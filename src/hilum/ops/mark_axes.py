"""Why a detector's marks hit nothing, or lie outside their scan: other axes or units than LPS mm."""

from collections.abc import Mapping

import numpy as np

from hilum.geometry import Geometry
from hilum.ops.froc import Table, within

FAR_MM = 100.0  # a mark farther than this from every nodule is of no use to any of them

OTHER_AXES = {
    "as RAS, with x and y negated": ((0, 1, 2), (-1.0, -1.0, 1.0)),
    "with x and z swapped": ((2, 1, 0), (1.0, 1.0, 1.0)),
    "as cm": ((0, 1, 2), (10.0, 10.0, 10.0)),
}
"""Other readings of a mark's x, y, z: the order of its numbers, and their factors."""


def explain_misses(detections: Mapping[str, Table], nodules: Mapping[str, Table]) -> str:
    """Explain why no mark hits any nodule, if the marks are probably in other axes or units.

    Parameters
    ----------
    detections, nodules : mapping of str to ndarray, shape (n, 4)
        As `froc` takes them.

    Returns
    -------
    str
        Empty if a mark hits a nodule, or nothing explains that none does.
    """
    pairs = [(np.asarray(detections[name]), np.asarray(nodules[name])) for name in nodules if name in detections]
    pairs = [(marks[:, :3], found) for marks, found in pairs if len(marks) and len(found)]
    if not pairs or any(within(found, marks).any() for marks, found in pairs):
        return ""
    total = sum(len(found) for _, found in pairs)
    for name, (order, factors) in OTHER_AXES.items():
        hit = sum(int(within(found, marks[:, order] * factors).any(axis=1).sum()) for marks, found in pairs)
        if 2 * hit >= total:
            return f"no mark hits a nodule, but {name} they hit {hit} of {total}: the marks are probably in other axes"
    if all(_distances(marks, found).min() > FAR_MM for marks, found in pairs):
        return f"every mark is over {FAR_MM:g} mm from every nodule: other axes or units (voxels?) than LPS mm"
    return ""


def explain_outside(marks: Table, grid: Geometry) -> str:
    """Explain why marks lie outside their scan: the axes or units in which at least half of them lie inside.

    Parameters
    ----------
    marks : ndarray, shape (n, 3) or wider
        x, y, z.
    grid : Geometry
        Of the scan.

    Returns
    -------
    str
        Empty if a mark lies in the scan, or there is none.
    """
    points = np.asarray(marks)[:, :3]
    if not len(points) or grid.contains(points).any():
        return ""
    for name, (order, factors) in OTHER_AXES.items():
        inside = int(np.count_nonzero(grid.contains(points[:, order] * factors)))
        if 2 * inside >= len(points):
            return f"no mark lies in the scan, but {name} {inside} of {len(points)} do: they are probably in other axes"
    return (
        f"none of the {len(points)} marks lies in the scan: other axes or units (voxels?) than LPS mm, or another scan"
    )


def _distances(marks: Table, nodules: Table) -> Table:
    offsets = marks[:, np.newaxis] - nodules[np.newaxis, :, :3]
    return np.asarray(np.linalg.norm(offsets, axis=2), np.float64)
