"""The score of a detector, from its table of marks, as ``hilum froc`` prints it."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from hilum.errors import AnnotationError
from hilum.io.annotations.detections import name_series, read_detections, read_findings, read_series
from hilum.ops.froc import MOST_MARKS, RATES, Froc, froc
from hilum.ops.mark_axes import explain_misses
from hilum.scan import Note


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """A score, the options of its bootstrap, and notes about the tables."""

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
        Findings to ignore, with the columns of `annotations`; a negative diameter stands for 10 mm.
    scans : Path, optional
        The series that the detector searched. By default all series in the tables, with a note ``"scans-assumed"``:
        scans without nodules and without marks are then missing from the denominator.
    most_marks, bootstrap, seed : int
        As for `hilum.froc`.

    Returns
    -------
    Evaluation
        Rows of series outside `scans` do not count; a note ``"unknown-series"`` names these series. If no mark hits a
        nodule, a note ``"wrong-axes"`` says in which axes or units they would.

    Raises
    ------
    AnnotationError
        If a table is invalid, or marks and annotations share no series.
    InputError
        If a file cannot be read, or an option is out of range.
    """
    marks, nodules = read_detections(detections), read_findings(annotations)
    others = read_findings(excluded, excluded=True).tables if excluded else {}
    notes = [*marks.notes, *nodules.notes]
    if scans:
        listed, series_notes = read_series(scans)
        notes += [*series_notes, *_unknown_series(marks.tables, nodules.tables, set(listed))]
    else:
        listed = tuple(dict.fromkeys([*nodules.tables, *others, *marks.tables]))
        only_marks = set(marks.tables) - set(nodules.tables) - set(others)
        text = f"the {len(listed)} series of the tables count as all scans"
        if only_marks:
            text += f"; {len(only_marks)} of them are only in the detections: {name_series(only_marks)}"
        notes.append(Note("scans-assumed", text))
    if marks.tables and not any(name in marks.tables for name in nodules.tables):
        what = f"no detection is in a series of {annotations.name}"
        raise AnnotationError(what, where=detections, do="check the series UIDs")
    score = froc(
        marks.tables, nodules.tables, listed, excluded=others, most_marks=most_marks, bootstrap=bootstrap, seed=seed
    )
    if not score.found and (why := explain_misses(marks.tables, nodules.tables)):
        notes.append(Note("wrong-axes", why))
    if score.beyond_limit:
        text = f"{score.beyond_limit} marks do not count: only the {most_marks} most probable marks of a scan do"
        notes.append(Note("marks-beyond-limit", text))
    if bootstrap and score.samples < bootstrap:
        text = f"{bootstrap - score.samples} of {bootstrap} bootstrap samples have no nodule and were left out"
        notes.append(Note("samples-without-nodule", text))
    return Evaluation(score=score, bootstrap=bootstrap, seed=seed, notes=tuple(notes))


def evaluation_json(evaluation: Evaluation) -> str:
    """Write a score as JSON, without its curve."""
    score = evaluation.score
    skipped = {"curve", "sensitivity", "low", "high"}
    columns = {"false_positives_per_scan": RATES, "sensitivity": score.sensitivity}
    if score.low:
        columns |= {"low": score.low, "high": score.high}
    points = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    record = {name: getattr(score, name) for name in score.__dataclass_fields__ if name not in skipped}
    notes = [{"code": note.code, "text": note.text} for note in evaluation.notes]
    record |= {"points": points, "bootstrap": evaluation.bootstrap, "seed": evaluation.seed, "notes": notes}
    return msgspec.json.format(msgspec.json.encode(record)).decode()


def evaluation_text(evaluation: Evaluation) -> str:
    """Write a score as a few lines of text."""
    score = evaluation.score
    intervals = [f"  [{low:.4f}, {high:.4f}]" for low, high in zip(score.low, score.high, strict=True)]
    lines = [f"CPM {score.cpm:.4f}" + (f"  [{score.cpm_low:.4f}, {score.cpm_high:.4f}]" if score.low else "")]
    for rate, sensitivity, interval in zip(RATES, score.sensitivity, intervals or [""] * len(RATES), strict=True):
        lines.append(f"{rate:>7g} false positives a scan: {sensitivity:.4f}{interval}")
    lines.append(f"{score.found} of {score.nodules} nodules found in {score.scans} scans by {score.marks} marks")
    wrong = f"{score.false_positives} false positives, {score.ignored} on excluded findings"
    lines.append(f"{wrong}, {score.repeated} repeated on nodules")
    if score.low:
        lines.append(f"95 % intervals from {score.samples} bootstrap samples of the scans, seed {evaluation.seed}")
    return "\n".join(lines)


def _unknown_series(marks: Iterable[str], nodules: Iterable[str], listed: set[str]) -> list[Note]:
    notes = []
    for what, series in (("detections", marks), ("annotations", nodules)):
        if unknown := set(series) - listed:
            text = f"{what} of {len(unknown)} series outside the list of scans do not count: {name_series(unknown)}"
            notes.append(Note("unknown-series", text))
    return notes
