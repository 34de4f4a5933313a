"""FROC: how many nodules a detector finds at how many false positives per scan, as LUNA16 counts it.

Source: A. Setio et al., "Validation, comparison, and combination of algorithms for automatic detection of pulmonary
nodules in computed tomography images: the LUNA16 challenge", Medical Image Analysis 42, 2017, and the challenge's page
"Evaluation" (luna16.grand-challenge.org). Score: M. Niemeijer et al., "On combining computer-aided detection systems",
IEEE Transactions on Medical Imaging 30, 2011.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hilum.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Table = NDArray[np.float64]
    """Rows (x, y, z, value), LPS mm."""

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False positives per scan at which LUNA16 asks for the sensitivity."""

MOST_MARKS = 100
"""Marks of one scan that count, those of the highest probability: the limit of LUNA16's own evaluation."""

NO_DIAMETER_MM = 10.0
"""The diameter of a finding that has none: annotations_excluded.csv writes -1."""


@dataclass(frozen=True, eq=False)
class Froc:
    """A detector's score and what it was counted from.

    Parameters
    ----------
    sensitivity : tuple of float
        At each of `RATES`.
    low, high : tuple of float
        Bounds of its 95 % interval; empty where none was asked for.
    cpm, cpm_low, cpm_high : float
        Mean of the seven sensitivities, and the bounds of its own 95 % interval (nan where none was asked for).
    curve : ndarray, shape (n, 3)
        False positives per scan, sensitivity, threshold; from (0, 0, inf) on, one row a distinct probability.
    scans, nodules, found, marks : int
        What there was; `marks` are those within the limit per scan.
    false_positives, ignored, repeated, beyond_limit : int
        Marks on nothing; on an excluded finding; on a nodule that a mark of higher probability hits; not counted.
    samples : int
        Bootstrap samples behind the interval: those that held a nodule.
    """

    sensitivity: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    cpm: float
    cpm_low: float
    cpm_high: float
    curve: NDArray[np.float64]
    scans: int
    nodules: int
    found: int
    marks: int
    false_positives: int
    ignored: int
    repeated: int
    beyond_limit: int
    samples: int


class _Matched(NamedTuple):
    """One scan: the best probability on each nodule found, the probability of each false positive, and counts."""

    hits: Table
    false: Table
    nodules: int
    marks: int
    ignored: int
    repeated: int
    beyond: int


def froc(
    detections: Mapping[str, Table],
    nodules: Mapping[str, Table],
    scans: Sequence[str],
    *,
    excluded: Mapping[str, Table] | None = None,
    most_marks: int = MOST_MARKS,
    bootstrap: int = 0,
    seed: int = 0,
) -> Froc:
    """Score detections as LUNA16's evaluation does.

    A mark hits a nodule if its distance from the center is less than the radius. A nodule counts once, with the
    highest probability of the marks that hit it; a mark that hits two nodules counts for both. A mark that hits no
    nodule but an excluded finding is ignored; any other is a false positive. The curve joins the points of all
    distinct probabilities by straight lines, from (0, 0) on; beyond its last point the sensitivity stays. Of a scan
    with more than `most_marks` marks those above the probability of mark ``most_marks + 1`` count, so that of equal
    ones at the limit none does.

    Parameters
    ----------
    detections : mapping of str to ndarray, shape (n, 4)
        By series UID: x, y, z in LPS mm, and a probability; any finite number serves as one.
    nodules : mapping of str to ndarray, shape (n, 4)
        By series UID: x, y, z in LPS mm, and the diameter in mm; a negative one stands for 10 mm.
    scans : sequence of str
        Every series that was looked at, those without nodules and without marks too; others do not count.
    excluded : mapping of str to ndarray, shape (n, 4), optional
        Findings that are neither right nor wrong, as `nodules`.
    most_marks : int
        Per scan; 0 for no limit.
    bootstrap : int
        Samples of as many scans, drawn with replacement, for the 95 % intervals; 0 for none. A sample without a
        nodule has no sensitivity and is left out.
    seed : int
        Of the samples.

    Returns
    -------
    Froc

    Raises
    ------
    InputError
        If no scan or no nodule is given, a scan is listed twice, or a number is not finite.
    """
    if len(set(scans)) != len(scans) or not scans:
        raise InputError(f"{len(scans)} scans, {len(set(scans))} of them different: expected each once", code="option")
    if min(most_marks, bootstrap, seed) < 0:
        raise InputError(f"limit {most_marks}, samples {bootstrap} or seed {seed} is negative", code="option")
    others = excluded or {}
    found = [
        _match(_table(detections, name), _table(nodules, name), _table(others, name), most_marks) for name in scans
    ]
    held = np.array([one.nodules for one in found])
    if not held.sum():
        raise InputError("no nodule in these scans: sensitivity is not defined", do="check the series UIDs")
    parts = [one.hits for one in found], [one.false for one in found]
    hits, false = (np.concatenate(part) for part in parts)
    order = np.argsort(-np.concatenate([hits, false]), kind="stable")
    values = np.concatenate([hits, false])[order]
    is_hit = (order < len(hits)).astype(np.float64)
    of_scan = np.concatenate([np.repeat(np.arange(len(scans)), [len(p) for p in part]) for part in parts])[order]
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True)) if len(values) else np.zeros(0, np.int64)
    rates, shares = _points(is_hit, ends, np.ones(len(values)), len(scans), int(held.sum()))
    at = np.interp(RATES, rates, shares)
    draws = _bootstrap(is_hit, ends, of_scan, held, bootstrap, seed)
    low, high = _interval(draws)
    cpm_low, cpm_high = _interval(draws.mean(axis=1, keepdims=True))
    return Froc(
        sensitivity=tuple(at.tolist()),
        low=low,
        high=high,
        cpm=float(at.mean()),
        cpm_low=cpm_low[0] if cpm_low else float("nan"),
        cpm_high=cpm_high[0] if cpm_high else float("nan"),
        curve=np.column_stack([rates, shares, np.append(np.inf, values[ends])]),
        scans=len(scans),
        nodules=int(held.sum()),
        found=len(hits),
        marks=sum(one.marks for one in found),
        false_positives=len(false),
        ignored=sum(one.ignored for one in found),
        repeated=sum(one.repeated for one in found),
        beyond_limit=sum(one.beyond for one in found),
        samples=len(draws),
    )


def _table(tables: Mapping[str, Table], name: str) -> Table:
    table = np.asarray(tables.get(name, np.empty((0, 4))), np.float64).reshape(-1, 4)
    if not np.isfinite(table).all():
        raise InputError(f"a number of series {name} is not finite", do="check its positions, sizes and probabilities")
    return table


def _match(marks: Table, nodules: Table, excluded: Table, most: int) -> _Matched:
    beyond = 0
    if 0 < most < len(marks):
        kept = marks[marks[:, 3] > np.sort(marks[:, 3])[-most - 1]]
        beyond, marks = len(marks) - len(kept), kept
    on_nodule = _within(nodules, marks)
    used = on_nodule.any(axis=0)
    ignored = ~used & _within(excluded, marks).any(axis=0)
    best = np.where(on_nodule, marks[:, 3], -np.inf).max(axis=1, initial=-np.inf)
    return _Matched(
        hits=best[on_nodule.any(axis=1)],
        false=marks[~used & ~ignored, 3],
        nodules=len(nodules),
        marks=len(marks),
        ignored=int(ignored.sum()),
        repeated=int(np.maximum(on_nodule.sum(axis=1) - 1, 0).sum()),
        beyond=beyond,
    )


def _within(findings: Table, marks: Table) -> NDArray[np.bool_]:
    """Which marks lie inside which findings; shape (findings, marks)."""
    radius = np.where(findings[:, 3] < 0, NO_DIAMETER_MM, findings[:, 3]) / 2
    apart = findings[:, None, :3] - marks[None, :, :3]
    inside: NDArray[np.bool_] = (apart * apart).sum(axis=2) < (radius * radius)[:, None]
    return inside


def _points(is_hit: Table, ends: NDArray[np.int64], weights: Table, scans: int, nodules: int) -> tuple[Table, Table]:
    """False positives per scan and sensitivity at every distinct probability, from (0, 0) on."""
    hits = np.cumsum(weights * is_hit)[ends]
    false = np.cumsum(weights * (1 - is_hit))[ends]
    return np.append(0.0, false / scans), np.append(0.0, hits / nodules)


def _bootstrap(
    is_hit: Table,
    ends: NDArray[np.int64],
    of_scan: NDArray[np.int64],
    held: NDArray[np.int64],
    samples: int,
    seed: int,
) -> Table:
    """Sensitivities at `RATES` of each sample that holds a nodule, shape (samples, 7)."""
    generator = np.random.default_rng(seed)
    scans, rows = len(held), []
    for _ in range(samples):
        times = np.bincount(generator.integers(scans, size=scans), minlength=scans)
        nodules = int(times @ held)
        if nodules:
            # A scan drawn k times counts k times: no list of copies is needed.
            points = _points(is_hit, ends, times[of_scan].astype(np.float64), scans, nodules)
            rows.append(np.interp(RATES, *points))
    return np.array(rows).reshape(-1, len(RATES))


def _interval(draws: Table) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Values of rank 2.5 % and 97.5 % of each column."""
    if not len(draws):
        return (), ()
    ranked = np.sort(draws, axis=0)
    return tuple(ranked[len(draws) * 25 // 1000].tolist()), tuple(ranked[len(draws) * 975 // 1000].tolist())
