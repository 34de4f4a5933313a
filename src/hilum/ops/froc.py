"""FROC: the sensitivity of a detector as a function of its false positives per scan, as LUNA16 computes it.

Source: A. Setio et al., "Validation, comparison, and combination of algorithms for automatic detection of pulmonary
nodules in computed tomography images: the LUNA16 challenge", Medical Image Analysis 42, 2017, and the challenge's page
"Evaluation" (luna16.grand-challenge.org). Score: M. Niemeijer et al., "On combining computer-aided detection systems",
IEEE Transactions on Medical Imaging 30, 2011.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum.errors import InputError
from hilum.ops.bootstrap import interval, resample_counts

Table = NDArray[np.float64]  # rows (x, y, z, value), LPS mm
Indices = NDArray[np.int64]

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # false positives per scan at which LUNA16 evaluates sensitivity

MOST_MARKS = 100  # the most probable marks of a scan that count: the limit of LUNA16's evaluation

NO_DIAMETER_MM = 10.0  # the diameter of a finding without one: annotations_excluded.csv has -1


@dataclass(frozen=True, eq=False)
class Froc:
    """A detector's score and its counts.

    Parameters
    ----------
    sensitivity : tuple of float
        At each of `RATES`.
    low, high : tuple of float
        Bounds of the 95 % intervals of the sensitivities; empty without bootstrap.
    cpm, cpm_low, cpm_high : float
        Mean of the seven sensitivities, and the bounds of its 95 % interval (NaN without bootstrap).
    curve : ndarray, shape (n, 3)
        False positives per scan, sensitivity, threshold: (0, 0, inf), then a row for each distinct probability.
    scans, nodules, found, marks : int
        The numbers of scans, of nodules, of nodules that were hit, and of marks within the limit per scan.
    false_positives, ignored, repeated, beyond_limit : int
        Numbers of marks that hit nothing; that hit an excluded finding; that hit a nodule which a mark of higher
        probability hits; that are beyond the limit per scan.
    samples : int
        Number of bootstrap samples that contained a nodule.

    Examples
    --------
    >>> import hilum
    >>> import numpy as np
    >>> score = hilum.froc({"a": np.array([[0.0, 0.0, 0.0, 0.9]])}, {"a": np.array([[1.0, 0.0, 0.0, 8.0]])}, ["a"])
    >>> score.found, score.nodules, score.cpm
    (1, 1, 1.0)
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
    highest probability of the marks that hit it. A mark that hits two nodules counts for both. A mark that hits no
    nodule is ignored if it hits an excluded finding; otherwise it is a false positive. The curve joins the points of
    all distinct probabilities by straight lines, starting at (0, 0); beyond its last point the sensitivity is
    constant. In a scan with more than `most_marks` marks, only marks with a higher probability than mark
    ``most_marks + 1`` count; marks of equal probability at the limit do not count.

    Parameters
    ----------
    detections : mapping of str to ndarray, shape (n, 4)
        By series UID: x, y, z in LPS mm, and a probability; any finite number is accepted.
    nodules : mapping of str to ndarray, shape (n, 4)
        By series UID: x, y, z in LPS mm, and the diameter in mm; a negative diameter stands for 10 mm.
    scans : sequence of str
        All series that were evaluated, including those without nodules or marks. Other series do not count.
    excluded : mapping of str to ndarray, shape (n, 4), optional
        Findings that count neither as right nor as wrong; rows as in `nodules`.
    most_marks : int, default 100
        Limit of marks per scan; 0 for none.
    bootstrap : int, default 0
        Number of bootstrap samples for the 95 % intervals; 0 for none. A sample has as many scans as there are, drawn
        with replacement. A sample without a nodule is left out.
    seed : int, default 0
        Seed of the bootstrap.

    Returns
    -------
    Froc

    Raises
    ------
    InputError
        If there is no scan or no nodule, a scan is listed twice, or a number is not finite.

    Examples
    --------
    >>> import hilum
    >>> import numpy as np
    >>> nodules = {"a": np.array([[10.0, 20.0, 30.0, 8.0]]), "b": np.array([[0.0, 0.0, 0.0, 6.0]])}
    >>> detections = {"a": np.array([[11.0, 20.0, 30.0, 0.9], [50.0, 20.0, 30.0, 0.4]])}
    >>> score = hilum.froc(detections, nodules, ["a", "b"])
    >>> score.sensitivity[-1], score.false_positives
    (0.5, 1)
    """
    if len(set(scans)) != len(scans) or not scans:
        raise InputError(f"{len(scans)} scans, {len(set(scans))} of them different: expected each once", code="option")
    if min(most_marks, bootstrap, seed) < 0:
        raise InputError(f"limit {most_marks}, samples {bootstrap} or seed {seed} is negative", code="option")
    findings = excluded or {}
    matches = [
        _match(_table(detections, name), _table(nodules, name), _table(findings, name), most_marks) for name in scans
    ]
    counts = np.array([scan_counts for _, _, scan_counts in matches])
    per_scan = counts[:, 0]
    total, marks, ignored, repeated, beyond_limit = counts.sum(axis=0).tolist()
    if not total:
        raise InputError("these scans have no nodule: the sensitivity is undefined", do="check the series UIDs")
    parts = [hits for hits, _, _ in matches], [false for _, false, _ in matches]
    hits, false = (np.concatenate(part) for part in parts)
    order = np.argsort(-np.concatenate([hits, false]), kind="stable")
    values = np.concatenate([hits, false])[order]
    is_hit = (order < len(hits)).astype(np.float64)
    of_scan = np.concatenate([np.repeat(np.arange(len(scans)), [len(p) for p in part]) for part in parts])[order]
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True)) if len(values) else np.zeros(0, np.int64)
    rates, sensitivities = _points(is_hit, ends, np.ones(len(values)), len(scans), total)
    at_rates = np.interp(RATES, rates, sensitivities)
    draws = _bootstrap(is_hit, ends, of_scan, per_scan, bootstrap, seed)
    low, high = interval(draws)
    cpm_low, cpm_high = interval(draws.mean(axis=1, keepdims=True))
    return Froc(
        sensitivity=tuple(at_rates.tolist()),
        low=low,
        high=high,
        cpm=float(at_rates.mean()),
        cpm_low=cpm_low[0] if cpm_low else float("nan"),
        cpm_high=cpm_high[0] if cpm_high else float("nan"),
        curve=np.column_stack([rates, sensitivities, np.append(np.inf, values[ends])]),
        scans=len(scans),
        nodules=total,
        found=len(hits),
        marks=marks,
        false_positives=len(false),
        ignored=ignored,
        repeated=repeated,
        beyond_limit=beyond_limit,
        samples=len(draws),
    )


def find_hits(
    marks: Table,
    nodules: Table,
    *,
    excluded: Table | None = None,
    threshold: float = -np.inf,
    most_marks: int = MOST_MARKS,
) -> tuple[NDArray[np.bool_], int]:
    """Tell which nodules of a scan are hit by marks of at least some probability, as `froc` counts them.

    Parameters
    ----------
    marks, nodules, excluded : ndarray, shape (n, 4)
        Of one scan, as `froc` takes them.
    threshold : float
        The least probability of a mark that counts.
    most_marks : int
        As for `froc`.

    Returns
    -------
    ndarray of bool, shape (nodules,)
        Whether each nodule is hit.
    int
        The number of false positives.
    """
    counted = _most_probable(marks, most_marks)
    counted = counted[counted[:, 3] >= threshold]
    on_nodule = within(nodules, counted)
    ignored = np.zeros(len(counted), np.bool_) if excluded is None else within(excluded, counted).any(axis=0)
    return np.asarray(on_nodule.any(axis=1)), int(np.count_nonzero(~on_nodule.any(axis=0) & ~ignored))


def within(findings: Table, marks: Table) -> NDArray[np.bool_]:
    """Tell which marks lie inside which findings, shape (findings, marks)."""
    radius = np.where(findings[:, 3] < 0, NO_DIAMETER_MM, findings[:, 3]) / 2
    offset = findings[:, None, :3] - marks[None, :, :3]
    inside: NDArray[np.bool_] = (offset * offset).sum(axis=2) < (radius * radius)[:, None]
    return inside


def _table(tables: Mapping[str, Table], name: str) -> Table:
    table = np.asarray(tables.get(name, np.empty((0, 4))), np.float64).reshape(-1, 4)
    if not np.isfinite(table).all():
        what = f"series {name} has a number that is not finite"
        raise InputError(what, do="check its positions, diameters and probabilities")
    return table


def _match(marks: Table, nodules: Table, excluded: Table, most: int) -> tuple[Table, Table, list[int]]:
    """Match the marks of one scan.

    Returns the highest probability on each nodule that was hit, the probabilities of the false positives, and the
    numbers of nodules, and of marks that count, are ignored, are repeated, and are beyond the limit.
    """
    counted = _most_probable(marks, most)
    beyond_limit, marks = len(marks) - len(counted), counted
    on_nodule = within(nodules, marks)
    is_hit = on_nodule.any(axis=0)
    ignored = ~is_hit & within(excluded, marks).any(axis=0)
    best = np.where(on_nodule, marks[:, 3], -np.inf).max(axis=1, initial=-np.inf)
    repeated = np.maximum(on_nodule.sum(axis=1) - 1, 0)
    counts = [len(nodules), len(marks), int(ignored.sum()), int(repeated.sum()), beyond_limit]
    return best[on_nodule.any(axis=1)], marks[~is_hit & ~ignored, 3], counts


def _most_probable(marks: Table, most: int) -> Table:
    """The marks within the limit of a scan; none with the probability of the first one beyond it."""
    return marks[marks[:, 3] > np.sort(marks[:, 3])[-most - 1]] if 0 < most < len(marks) else marks


def _points(is_hit: Table, ends: Indices, weights: Table, scans: int, nodules: int) -> tuple[Table, Table]:
    """False positives per scan and sensitivity: (0, 0), then at every distinct probability."""
    hits = np.cumsum(weights * is_hit)[ends]
    false = np.cumsum(weights * (1 - is_hit))[ends]
    return np.append(0.0, false / scans), np.append(0.0, hits / nodules)


def _bootstrap(is_hit: Table, ends: Indices, of_scan: Indices, per_scan: Indices, samples: int, seed: int) -> Table:
    """Sensitivities at `RATES` of each sample that contains a nodule, shape (samples, 7)."""
    scans, rows = len(per_scan), []
    for times in resample_counts(scans, samples, seed):
        if nodules := int(times @ per_scan):
            # A scan that was drawn k times gets the weight k.
            points = _points(is_hit, ends, times[of_scan].astype(np.float64), scans, nodules)
            rows.append(np.interp(RATES, *points))
    return np.array(rows).reshape(-1, len(RATES))
