"""Which readers' outlines are of one nodule, what follows for it, and how far its readers agree."""

from __future__ import annotations

from collections import defaultdict
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

import numpy as np

from hilum.ops.outlines import ContourPixel, consensus_mask, reading_mask
from hilum.scan import Nodule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hilum.geometry import Vector
    from hilum.scan import Reading

_SHRINK = 0.9
_LEAST_MM = 0.1
_PAIRS_AT_ONCE = 2**22


def cluster_readings(readings: Sequence[Reading], *, tolerance_mm: float, readers: int) -> list[list[Reading]]:
    """Group the outlines of one nodule, drawn by several readers.

    Readings are of one nodule if the least distance of their outlines' points is at most the tolerance, directly or
    over other readings. While a group has more readings than there are readers, it alone is grouped again with a
    tolerance nine tenths as large, down to 0.1 mm.

    Parameters
    ----------
    readings : sequence of Reading
    tolerance_mm : float
        The distance of slices is a good one: what two readers drew on neighboring slices belongs together.
    readers : int
        How many looked at the scan.

    Returns
    -------
    list of list of Reading
        From feet to head by the groups' mean height; in each the readings in the order given. A group may have more
        readings than there are readers where they overlap.

    Notes
    -----
    The rule is that of pylidc (M. Hancock and J. Magnan, "Lung nodule malignancy classification using only
    radiologist-quantified image features as inputs to statistical learning algorithms", Journal of Medical Imaging 3,
    2016), which groups all readings of the scan again where one group is too large.
    """
    away = _distances(readings, tolerance_mm)
    groups = _grouped(list(range(len(readings))), away, tolerance_mm, max(1, readers))
    found = [[readings[k] for k in group] for group in groups]
    return sorted(found, key=lambda group: float(np.mean([_height(reading) for reading in group])))


def nodule_of(readings: Sequence[Reading]) -> Nodule:
    """The nodule that readings outline together.

    Parameters
    ----------
    readings : sequence of Reading
        At least one; a group of `cluster_readings`.

    Returns
    -------
    Nodule
        Its center is the mean of the readings' centers of mass, its diameter the mean diameter of balls of the
        readings' volumes, each after `reading_mask` without the outline's pixels; each score is the mean of the readers
        who gave it.
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


def agreement(nodule: Nodule, *, contour_pixel: ContourPixel = "exclude") -> NDArray[np.float64]:
    """How far the readings of a nodule overlap.

    Parameters
    ----------
    nodule : Nodule
        With readings.
    contour_pixel : {"exclude", "include"}

    Returns
    -------
    ndarray, shape (n, n)
        Dice coefficient of each pair of readings: twice what both hold over the sum of both; 1 on the diagonal.

    Raises
    ------
    AnnotationError, InputError
        As `hilum.ops.outlines.reading_mask` and `hilum.ops.outlines.consensus_mask` do.
    """
    whole = consensus_mask(nodule, contour_pixel=contour_pixel).geometry
    drawn = np.zeros((len(nodule.readings), *whole.shape), bool)
    for k, reading in enumerate(nodule.readings):
        mask = reading_mask(reading, contour_pixel=contour_pixel)
        first = np.rint(whole.world_to_index(mask.geometry.origin)).astype(int)
        drawn[k][tuple(slice(a, a + n) for a, n in zip(first, mask.shape, strict=True))] = mask.array
    flat = drawn.reshape(len(drawn), -1).astype(np.float64)
    both = flat @ flat.T
    sizes = np.diag(both)
    dice: NDArray[np.float64] = 2 * both / (sizes[:, None] + sizes)
    return dice


def mean_agreement(nodule: Nodule) -> float:
    """Mean Dice coefficient over the pairs of a nodule's readings; 1 where there is one reading or none.

    Parameters
    ----------
    nodule : Nodule

    Returns
    -------
    float
    """
    if len(nodule.readings) < 2:
        return 1.0
    table = agreement(nodule)
    return float(table[np.triu_indices(len(table), 1)].mean())


def _grouped(members: list[int], away: NDArray[np.float64], tolerance: float, most: int) -> list[list[int]]:
    out = []
    waiting = set(members)
    while waiting:
        group, edge = set[int](), {min(waiting)}
        while edge:
            group |= edge
            waiting -= edge
            edge = {k for k in waiting if min(away[k, j] for j in edge) <= tolerance}
        if len(group) > most and tolerance * _SHRINK >= _LEAST_MM:
            out += _grouped(sorted(group), away, tolerance * _SHRINK, most)
        else:
            out.append(sorted(group))
    return out


def _distances(readings: Sequence[Reading], tolerance: float) -> NDArray[np.float64]:
    """Least distance of the points of each pair of readings; infinite where it is surely beyond the tolerance."""
    clouds = [np.unique(np.concatenate(r.contours), axis=0) for r in readings]
    out = np.full((len(clouds), len(clouds)), np.inf)
    for i, one in enumerate(clouds):
        for j, other in enumerate(clouds[:i]):
            out[i, j] = out[j, i] = _least_distance(_within(one, other, tolerance), _within(other, one, tolerance))
    return out


def _within(points: NDArray[np.float64], others: NDArray[np.float64], distance: float) -> NDArray[np.float64]:
    low, high = others.min(axis=0) - distance - 1e-9, others.max(axis=0) + distance + 1e-9
    kept: NDArray[np.float64] = points[((points >= low) & (points <= high)).all(axis=1)]
    return kept


def _least_distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    least = np.inf
    if not len(one) or not len(other):
        return least
    step = max(1, _PAIRS_AT_ONCE // len(other))
    for k in range(0, len(one), step):
        apart = one[k : k + step, None] - other
        least = min(least, float(np.einsum("ijk,ijk->ij", apart, apart).min()))
        if least < 1e-12:
            break
    return round(float(np.sqrt(least)), 6)  # 2.5 mm between slices is 2.5, whatever the world coordinates


def _height(reading: Reading) -> float:
    return float(np.concatenate(reading.contours)[:, 2].mean())
