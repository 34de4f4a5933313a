"""The score of a detector from its table of marks: what ``hilum froc`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hilum.errors import AnnotationError
from hilum.io.annotations.detections import name_series, read_detections, read_findings, read_series
from hilum.ops.froc import MOST_MARKS, RATES, Froc, froc
from hilum.scan import Note

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """A score, how it was asked for, and what was odd about the tables."""

    score: Froc
    bootstrap: int
    seed: int
    notes: tuple[Note, ...]


def evaluate_detections(
    detections: Path,
    annotations: Path,
    *,
    excluded: Path | None = None,
    scans: Path | None = None,
    most_marks: int = MOST_MARKS,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Score a table of detections as LUNA16 does; see `hilum.froc` for the rules.

    Parameters
    ----------
    detections : Path
        Columns seriesuid, coordX, coordY, coordZ, probability.
    annotations : Path
        Columns seriesuid, coordX, coordY, coordZ, diameter_mm.
    excluded : Path, optional
        Findings to ignore, as `annotations`; a negative diameter stands for 10 mm.
    scans : Path, optional
        The series that were looked at. Without it they are those that any of the tables names, with a note
        ``"scans-assumed"``: a scan without nodules and without marks is then missing from the denominator.
    most_marks, bootstrap, seed : int
        As for `hilum.froc`.

    Returns
    -------
    Evaluation
        Rows of series outside `scans` do not count; a note ``"unknown-series"`` counts and names them.

    Raises
    ------
    AnnotationError
        If a table cannot be trusted, or marks and annotations share no series.
    InputError
        If a file cannot be opened, or an option is out of range.
    """
    marks, nodules = read_detections(detections), read_findings(annotations)
    others = read_findings(excluded, excluded=True).tables if excluded else {}
    notes = [*marks.notes, *nodules.notes]
    if scans:
        listed, odd = read_series(scans)
        notes += [*odd, *_unknown(marks.tables, nodules.tables, set(listed))]
    else:
        listed = tuple(dict.fromkeys([*nodules.tables, *others, *marks.tables]))
        alone = set(marks.tables) - set(nodules.tables) - set(others)
        told = f"; of {len(alone)} no table but the detections knows: {name_series(alone)}" if alone else ""
        notes.append(Note("scans-assumed", f"the {len(listed)} series of the tables count as all scans{told}"))
    if marks.tables and not any(name in marks.tables for name in nodules.tables):
        what = f"no detection is of a series that {annotations.name} lists"
        raise AnnotationError(what, where=detections, do="check the series UIDs")
    score = froc(
        marks.tables, nodules.tables, listed, excluded=others, most_marks=most_marks, bootstrap=bootstrap, seed=seed
    )
    if score.beyond_limit:
        what = f"{score.beyond_limit} marks are beyond the {most_marks} of highest probability of their scan"
        notes.append(Note("marks-beyond-limit", f"{what} and do not count"))
    if bootstrap and score.samples < bootstrap:
        what = f"{bootstrap - score.samples} of {bootstrap} bootstrap samples hold no nodule and were left out"
        notes.append(Note("samples-without-nodule", what))
    return Evaluation(score=score, bootstrap=bootstrap, seed=seed, notes=tuple(notes))


def evaluation_json(found: Evaluation) -> str:
    """Write a score as JSON: all of it but the curve.

    Parameters
    ----------
    found : Evaluation

    Returns
    -------
    str
    """
    score = found.score
    skipped = {"curve", "sensitivity", "low", "high"}
    points = [{"false_positives_per_scan": rate, "sensitivity": score.sensitivity[k]} for k, rate in enumerate(RATES)]
    if score.low:
        points = [{**p, "low": score.low[k], "high": score.high[k]} for k, p in enumerate(points)]
    told = {name: getattr(score, name) for name in score.__dataclass_fields__ if name not in skipped}
    notes = [{"code": note.code, "text": note.text} for note in found.notes]
    record = {**told, "points": points, "bootstrap": found.bootstrap, "seed": found.seed, "notes": notes}
    return msgspec.json.format(msgspec.json.encode(record)).decode()


def evaluation_text(found: Evaluation) -> str:
    """Write a score as a few lines for a person.

    Parameters
    ----------
    found : Evaluation

    Returns
    -------
    str
    """
    score = found.score
    lines = [f"CPM {score.cpm:.4f}" + _range(score.cpm_low, score.cpm_high, bool(score.low))]
    for k, rate in enumerate(RATES):
        low, high = (score.low[k], score.high[k]) if score.low else (0.0, 0.0)
        lines.append(
            f"{rate:>7g} false positives a scan: {score.sensitivity[k]:.4f}{_range(low, high, bool(score.low))}"
        )
    lines.append(f"{score.found} of {score.nodules} nodules found in {score.scans} scans by {score.marks} marks")
    lines.append(
        f"{score.false_positives} false positives, {score.ignored} on excluded findings, "
        f"{score.repeated} more on a nodule found already"
    )
    if score.low:
        lines.append(f"95 % intervals from {score.samples} bootstrap samples of the scans, seed {found.seed}")
    return "\n".join(lines)


def _range(low: float, high: float, known: bool) -> str:
    return f"  [{low:.4f}, {high:.4f}]" if known else ""


def _unknown(marks: Iterable[str], nodules: Iterable[str], listed: set[str]) -> list[Note]:
    notes = []
    for what, named in (("detections", marks), ("annotations", nodules)):
        lost = set(named) - listed
        if lost:
            text = f"{what} of {len(lost)} series outside the list of scans do not count: {name_series(lost)}"
            notes.append(Note("unknown-series", text))
    return notes
