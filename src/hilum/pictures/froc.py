"""The FROC curve of a detector."""

from math import ceil

import numpy as np

from hilum.ops.froc import RATES, Froc
from hilum.pictures import colors
from hilum.pictures.figure import Figure, dots, figure_inches, letter_size, wrap

_PARTS = 1000  # at least, of the whole curve


def froc(score: Froc, *, width_mm: float | None = None) -> Figure:
    """Draw sensitivity over false positives per scan, and mark the seven rates of the score.

    Parameters
    ----------
    score : Froc
        As `hilum.froc` returns it.
    width_mm : float, optional
        Width of the figure, 80 to 500; 85 is a column of a paper. The default is 6.4 inches.

    Returns
    -------
    matplotlib.figure.Figure
        Rates from 1/8 to 8 on a logarithmic axis; bars are the 95 % intervals, if there are any.

    Examples
    --------
    >>> import hilum
    >>> import numpy as np
    >>> nodules = {"a": np.array([[10.0, 20.0, 30.0, 8.0]])}
    >>> detections = {"a": np.array([[11.0, 20.0, 30.0, 0.9], [50.0, 20.0, 30.0, 0.4]])}
    >>> figure = hilum.plot.froc(hilum.froc(detections, nodules, ["a"]))
    >>> figure.savefig("froc.png")
    """
    inches = figure_inches(width_mm, 6.4)
    figure = Figure(figsize=(inches, 0.69 * inches), layout="constrained", dpi=dots(width_mm))
    panel = figure.subplots()
    points = np.vstack([score.curve[:, :2], [max(score.curve[-1, 0], RATES[-1] * 2), score.curve[-1, 1]]])
    # Straight lines bend on the logarithmic axis, so each is drawn in parts.
    knots = np.linspace(0, len(points) - 1, (len(points) - 1) * ceil(_PARTS / (len(points) - 1)) + 1)
    panel.plot(*(np.interp(knots, np.arange(len(points)), c) for c in points.T), color=colors.BLUE, linewidth=1.4)
    panel.plot(RATES, score.sensitivity, "o", color=colors.BLUE, markersize=5, clip_on=False)
    if score.low:
        panel.vlines(RATES, score.low, score.high, color=colors.BLUE, linewidth=1.0, alpha=0.6)
        panel.fill_between(RATES, score.low, score.high, color=colors.BLUE, alpha=0.12, linewidth=0)
    panel.set_xscale("log", base=2)
    panel.set_xlim(RATES[0], RATES[-1])
    panel.set_ylim(0, 1.0)
    panel.set_xticks(RATES, ["1/8", "1/4", "1/2", "1", "2", "4", "8"])
    panel.minorticks_off()
    panel.grid(color="0.85", linewidth=0.6)
    panel.set_xlabel("false positives per scan", fontsize=letter_size(inches, 10.0))
    panel.set_ylabel("sensitivity", fontsize=letter_size(inches, 10.0))
    panel.tick_params(labelsize=letter_size(inches, 10.0))
    interval = f" [{score.cpm_low:.3f}, {score.cpm_high:.3f}]" if score.low else ""
    counts = f"{_count(score.nodules, 'nodule')}, {_count(score.scans, 'scan')}"
    size = letter_size(inches, 10.0)
    title = f"FROC: CPM (mean of the seven dots) {score.cpm:.3f}{interval}; {counts}"
    panel.set_title(wrap(title, 0.85 * inches, size), fontsize=size)
    return figure


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
