"""Group readers' outlines into nodules, and measure how far the readers of a nodule agree."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from types import MappingProxyType
from typing import cast

import numpy as np
from numpy.typing import NDArray

from hilum.errors import InputError
from hilum.geometry import Vector
from hilum.ops.arguments import expect
from hilum.ops.nodules.outlines import ContourPixel, consensus_mask, reading_mask
from hilum.scan import Nodule, Note, Reading, Scan

Cloud = NDArray[np.float64]  # points, shape (n, 3), mm

_SHRINK = 0.9
_LEAST_MM = 0.1
_ROUNDED = 1e-6
_SMALLEST_CELL_MM = 1e-3
_SAMPLE = 256
_PAIRS_AT_ONCE = 2**20


def cluster_readings(readings: Sequence[Reading], *, tolerance_mm: float, readers: int) -> list[list[Reading]]:
    """Group the readings that outline the same nodule.

    Two readings belong to one nodule if the smallest distance between points of their outlines is at most the
    tolerance, directly or through other readings. A group with more readings than readers is grouped again with 0.9
    times the tolerance, repeatedly, down to 0.1 mm.

    Parameters
    ----------
    readings : sequence of Reading
        The readings of one scan.
    tolerance_mm : float
        The distance between slices is a good value: it joins what two readers outlined on neighboring slices.
    readers : int
        Number of readers of the scan.

    Returns
    -------
    list of list of Reading
        Sorted from feet to head by the groups' mean height; the readings of a group in their given order. A group of
        overlapping readings may have more readings than readers.

    Notes
    -----
    The rule is that of pylidc (M. Hancock and J. Magnan, "Lung nodule malignancy classification using only
    radiologist-quantified image features as inputs to statistical learning algorithms", Journal of Medical Imaging 3,
    2016), which groups all readings of the scan again where one group is too large.
    """
    distances = _distances(readings, tolerance_mm)
    groups = _groups(list(range(len(readings))), distances, tolerance_mm, max(1, readers))
    nodules = [[readings[k] for k in group] for group in groups]
    return sorted(nodules, key=lambda group: np.mean([np.concatenate(r.contours)[:, 2].mean() for r in group]))


def nodule_of(readings: Sequence[Reading]) -> Nodule:
    """Make the nodule that a group of readings outlines.

    Parameters
    ----------
    readings : sequence of Reading
        At least one; a group of `cluster_readings`.

    Returns
    -------
    Nodule
        Its center is the mean of the readings' centers of mass. Its diameter is the mean diameter of balls with the
        readings' volumes. Both are computed from `reading_mask` without the pixels on outlines. Each score is the mean
        over the readers who gave it.
    """
    centers, diameters = [], []
    scores = defaultdict(list)
    for reading in readings:
        mask = reading_mask(reading)
        centers.append(mask.geometry.index_to_world(np.argwhere(mask.array).mean(axis=0)))
        diameters.append((6000 * mask.volume_ml() / np.pi) ** (1 / 3))
        for name, value in reading.scores.items():
            scores[name].append(value)
    means = {name: float(np.mean(values)) for name, values in scores.items()}
    center = cast("Vector", tuple(np.mean(centers, axis=0).tolist()))
    return Nodule(center, float(np.mean(diameters)), tuple(readings), MappingProxyType(means))


def require_readers(scan: Scan, *, least: int) -> Scan:
    """Leave out the nodules that too few readers outlined.

    Parameters
    ----------
    scan : Scan
        The scan, with readings.
    least : int
        Number of readers, at least 1. Several readings of one reader count as one reader. Nodules without outlines
        stay: nobody says how many readers found them.

    Returns
    -------
    Scan
        The other nodules are in ``locations["few_readers"]``, with their diameters, and a note counts them.

    Raises
    ------
    InputError
        If `least` is below 1.
    """
    check_readers(least)
    readers = [len({reading.reader for reading in nodule.readings}) for nodule in scan.nodules]
    few = [nodule for nodule, count in zip(scan.nodules, readers, strict=True) if 0 < count < least]
    if not few:
        return scan
    table = np.array([(*nodule.center, nodule.diameter_mm) for nodule in few], np.float64)
    text = f"fewer than {least} readers outlined {len(few)} of {len(readers)} nodules: stored as locations, not drawn"
    return replace(
        scan,
        nodules=tuple(nodule for nodule in scan.nodules if nodule not in few),
        locations=MappingProxyType({**scan.locations, "few_readers": table}),
        notes=(*scan.notes, Note("few-readers", text)),
    )


def check_readers(least: int) -> None:
    """Refuse, with an InputError, a least number of readers that is below 1."""
    if least < 1:
        raise InputError(f"the least number of readers is {least}, expected at least 1", code="option")


def agreement(nodule: Nodule, *, contour_pixel: ContourPixel = "exclude") -> NDArray[np.float64]:
    """Compute how far the readings of a nodule overlap.

    Parameters
    ----------
    nodule : Nodule
        With readings.
    contour_pixel : {"exclude", "include"}
        Whether the pixels on an outline belong to the nodule; by default they do not.

    Returns
    -------
    ndarray, shape (n, n)
        Dice coefficient of each pair of readings: twice the common voxels over the sum of both; 1 on the diagonal.

    Raises
    ------
    AnnotationError, InputError
        As for `hilum.ops.nodules.outlines.reading_mask` and `hilum.ops.nodules.outlines.consensus_mask`.
    InputTypeError
        If the argument is no nodule.

    Examples
    --------
    >>> import hilum
    >>> import numpy as np
    >>> grid = hilum.Geometry((3, 20, 20), (2.0, 1.0, 1.0))
    >>> square = np.array([[4.0, 4.0, 2.0], [10.0, 4.0, 2.0], [10.0, 10.0, 2.0], [4.0, 10.0, 2.0]])
    >>> readings = hilum.Reading(1, grid, (square,)), hilum.Reading(2, grid, (square + (2.0, 0.0, 0.0),))
    >>> nodule = hilum.Nodule((8.0, 7.0, 2.0), 7.0, readings)
    >>> hilum.agreement(nodule).round(2)
    array([[1. , 0.6],
           [0.6, 1. ]])
    """
    nodule = expect(nodule, Nodule, "nodule", do="pass one of scan.nodules")
    grid = consensus_mask(nodule, contour_pixel=contour_pixel).geometry
    drawn = np.zeros((len(nodule.readings), *grid.shape), bool)
    for k, reading in enumerate(nodule.readings):
        mask = reading_mask(reading, contour_pixel=contour_pixel)
        first = np.rint(grid.world_to_index(mask.geometry.origin)).astype(int)
        drawn[k][tuple(slice(a, a + n) for a, n in zip(first, mask.shape, strict=True))] = mask.array
    flat = drawn.reshape(len(drawn), -1).astype(np.float64)
    both = flat @ flat.T
    sizes = np.diag(both)
    return 2 * both / (sizes[:, None] + sizes)


def mean_agreement(nodule: Nodule) -> float:
    """Average the Dice coefficient over the pairs of a nodule's readings; 1 for fewer than two readings.

    Parameters
    ----------
    nodule : Nodule
        A nodule with any number of readings.

    Returns
    -------
    float
    """
    if len(nodule.readings) < 2:
        return 1.0
    table = agreement(nodule)
    return float(table[np.triu_indices(len(table), 1)].mean())


def _groups(members: list[int], distances: NDArray[np.float64], tolerance: float, most: int) -> list[list[int]]:
    near = distances[np.ix_(members, members)] <= tolerance
    remaining = np.ones(len(members), bool)
    groups = []
    while remaining.any():
        in_group = np.zeros(len(members), bool)
        in_group[np.argmax(remaining)] = True
        edge = in_group
        while edge.any():
            remaining &= ~edge
            edge = near[edge].any(axis=0) & remaining
            in_group = in_group | edge
        group = [members[k] for k in np.flatnonzero(in_group)]
        if len(group) > most and tolerance * _SHRINK >= _LEAST_MM:
            groups += _groups(group, distances, tolerance * _SHRINK, most)
        else:
            groups.append(group)
    return groups


def _distances(readings: Sequence[Reading], tolerance: float) -> NDArray[np.float64]:
    """Smallest distance between the points of each pair of readings; infinite where their boxes are farther apart."""
    clouds = [np.unique(np.concatenate(r.contours), axis=0) for r in readings]
    low = np.array([cloud.min(axis=0) for cloud in clouds]).reshape(-1, 3)
    high = np.array([cloud.max(axis=0) for cloud in clouds]).reshape(-1, 3)
    out = np.full((len(clouds), len(clouds)), np.inf)
    for i, one in enumerate(clouds):
        gap = np.maximum(low[i] - high[:i], low[:i] - high[i]).max(axis=1)
        for j in np.flatnonzero(gap <= tolerance + _ROUNDED):
            inner = _within(one, low[j], high[j], tolerance), _within(clouds[j], low[i], high[i], tolerance)
            # Rounding makes 2.5 mm between slices exactly 2.5, whatever the world coordinates.
            out[i, j] = out[j, i] = round(least_distance(*inner, limit=tolerance + _ROUNDED), 6)
    return out


def _within(points: Cloud, low: Cloud, high: Cloud, distance: float) -> Cloud:
    margin = distance + _ROUNDED
    return points[((points >= low - margin) & (points <= high + margin)).all(axis=1)]


def least_distance(one: Cloud, other: Cloud, *, limit: float) -> float:
    """Compute the distance between the two nearest points of two point clouds.

    Parameters
    ----------
    one, other : ndarray, shape (n, 3), mm
        The two clouds, in the same axes.
    limit : float, mm
        Above 0. Larger distances are not computed exactly.

    Returns
    -------
    float
        Exact up to the limit; some value above the limit otherwise; infinite if a cloud is empty.
    """
    if not len(one) or not len(other):
        return float("inf")
    # A sample of points gives an upper bound. With cells of that size only neighboring cells can hold nearer points.
    least = _least_of_all(one[:: -(-len(one) // _SAMPLE)], other)
    if len(one) <= _SAMPLE or least == 0:
        return least
    side = max(min(least, limit), _SMALLEST_CELL_MM)
    corner = np.minimum(one.min(axis=0), other.min(axis=0)) - side
    cells, home = (np.floor((points - corner) / side).astype(np.int64) for points in (one, other))
    size = np.maximum(cells.max(axis=0), home.max(axis=0)) + 2
    steps = np.array([size[1] * size[2], size[2], 1])
    order = np.argsort(home @ steps)
    keys = (home @ steps)[order]
    for shift in product((-1, 0, 1), repeat=3):
        neighbors = (cells + shift) @ steps
        first, stop = np.searchsorted(keys, neighbors), np.searchsorted(keys, neighbors, side="right")
        count = stop - first
        for k in np.flatnonzero(count > _SAMPLE):  # crowded cells, one by one
            least = min(least, _least_of_all(one[k : k + 1], other[order[first[k] : stop[k]]]))
        count[count > _SAMPLE] = 0
        mine = np.repeat(np.arange(len(one)), count)
        theirs = np.arange(len(mine)) - np.repeat(np.cumsum(count) - count, count) + first[mine]
        if len(mine):
            least = min(least, float(np.linalg.norm(one[mine] - other[order[theirs]], axis=1).min()))
    return least


def _least_of_all(one: Cloud, other: Cloud) -> float:
    least = np.inf
    step = max(1, _PAIRS_AT_ONCE // len(other))
    for k in range(0, len(one), step):
        offsets = one[k : k + step, None] - other
        least = min(least, float(np.einsum("ijk,ijk->ij", offsets, offsets).min()))
    return float(np.sqrt(least))
