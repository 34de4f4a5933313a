"""Commands between a finished output and a training run: the score of detections, slices, patches."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from hilum.cli.status import ALL_WELL
from hilum.console import say, warn
from hilum.errors import InputError, UnsupportedError


def froc(
    detections: Path,
    annotations: Path,
    /,
    *,
    excluded: Path | None = None,
    scans: Path | None = None,
    most_marks: int = 100,
    bootstrap: int = 1000,
    seed: int = 0,
    plot: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Score a detector as LUNA16 does: sensitivity at 1/8 to 8 false positives per scan, and their mean.

    Parameters
    ----------
    detections
        A csv: seriesuid, coordX, coordY, coordZ, probability.
    annotations
        A LUNA16 annotations.csv.
    excluded
        A LUNA16 annotations_excluded.csv: marks on its findings are neither right nor wrong.
    scans
        The series looked at: a csv with the column seriesuid, or one UID a line.
    most_marks
        Marks that count per scan, those of the highest probability; 0 for all.
    bootstrap
        Samples of the scans for the 95 % intervals; 0 for none.
    seed
        Of the samples.
    plot
        Draw the curve into this .png, .svg or .pdf.
    json
        Print JSON for programs in place of text.
    """
    from hilum.train.evaluation import evaluate_detections, evaluation_json, evaluation_text

    if plot is not None:
        _check_plot(plot)
    found = evaluate_detections(
        detections,
        annotations,
        excluded=excluded,
        scans=scans,
        most_marks=most_marks,
        bootstrap=bootstrap,
        seed=seed,
    )
    for note in found.notes:
        warn(str(note))
    if plot is not None:
        from hilum.io.atomic import atomic_path
        from hilum.pictures.froc import froc_curve

        with atomic_path(plot) as temporary:
            froc_curve(found.score).savefig(temporary, dpi=120)
    say(evaluation_json(found) if json else evaluation_text(found))
    return ALL_WELL


def _check_plot(plot: Path) -> None:
    """Refuse a picture that cannot be drawn before any work is done for it."""
    if plot.suffix.lower() not in {".png", ".svg", ".pdf"}:
        raise UnsupportedError("a plot ends in .png, .svg or .pdf", where=plot)
    if find_spec("matplotlib") is None:
        do = "pip install 'hilum[plots]'"
        raise InputError("a plot needs matplotlib, which is not installed", where=plot, do=do, code="option")
