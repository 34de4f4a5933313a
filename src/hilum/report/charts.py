"""Distributions as inline SVG, without any library or script, readable in print and without colors."""

import math
from collections.abc import Sequence

import numpy as np

from hilum.ops.froc import RATES, Froc
from hilum.outputs.parts import PreviewRecord
from hilum.report.gather import Entry
from hilum.report.text import html

WIDTH, HEIGHT = 320, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 38, 10, 10, 22
_PLOT = WIDTH - _LEFT - _RIGHT
_BINS = 24
_ROUND_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_SMALLEST = 1e-5  # the smallest fraction of voxels on the logarithmic axis


def charts(entries: Sequence[Entry]) -> list[str]:
    """Draw the distributions of a run's finished scans.

    Parameters
    ----------
    entries : sequence of Entry
        The scans of the run.

    Returns
    -------
    list of str
        One HTML figure each; a figure without values says so.
    """
    read = [e.source_geometry for e in entries if e.source_geometry is not None]
    previews = [e.preview for e in entries if e.preview is not None]
    nodules = [n.diameter_mm for e in entries for n in e.nodules]
    seconds = [e.seconds for e in entries if e.seconds]

    def measured(name: str) -> list[float]:
        return [e.figures[name] for e in entries if name in e.figures]

    drawn = [
        histogram("Slice distance, as read", [g.spacing[0] for g in read], "mm", "scans"),
        histogram("Pixel spacing in the slice, as read", [g.spacing[2] for g in read], "mm", "scans"),
        histogram("Slices, as read", [float(g.shape[0]) for g in read], "", "scans"),
        histogram("Height of the scan", [g.shape[0] * g.spacing[0] for g in read], "mm", "scans"),
        histogram("Right lung", measured("lung_right_ml"), "ml", "scans"),
        histogram("Left lung", measured("lung_left_ml"), "ml", "scans"),
        histogram("Mean of the lungs", measured("lung_mean_hu"), "HU", "scans"),
        histogram("Score of the lung mask", measured("lung_score"), "of 1", "scans"),
    ]
    for percent in ("5", "50", "95"):
        values = [p.percentiles[percent] for p in previews if percent in p.percentiles]
        drawn.append(histogram(f"{percent}th percentile of the voxels", values, "HU", "scans"))
    last = histogram("Nodule diameter", nodules, "mm", "nodules"), histogram("Time", seconds, "s", "scans")
    return [*drawn, *last, hu_curve(previews)]


def histogram(title: str, values: Sequence[float], unit: str, what: str) -> str:
    """Draw a histogram with bins of a round width.

    Parameters
    ----------
    title : str
        What is shown over the chart.
    values : sequence of float
        Values that are not finite are left out.
    unit : str
        The unit of the values, such as ``ml``.
    what : str
        What is counted, in plural.

    Returns
    -------
    str
        An HTML figure with a caption that gives the numbers.
    """
    if not (known := np.array([v for v in values if math.isfinite(v)], np.float64)).size:
        return _figure(title, "", f"no {what}")
    step = nice_step((known.max() - known.min()) / _BINS) if np.ptp(known) else nice_step(abs(known[0]) / 10 or 1.0)
    first = math.floor(known.min() / step + 1e-9)
    counts = np.bincount(np.floor(known / step + 1e-9).astype(np.int64) - first)
    wide = _PLOT / max(len(counts), 4)
    bars = [
        f'<rect class="bar" x="{_LEFT + k * wide + 0.5:.1f}" y="{_y(n / counts.max()):.1f}" '
        f'width="{max(wide - 1, 1):.1f}" height="{_y(0) - _y(n / counts.max()):.1f}">'
        f"<title>{html(f'{(first + k) * step:.6g} to {(first + k + 1) * step:.6g} {unit}: {n} {what}')}</title></rect>"
        for k, n in enumerate(counts.tolist())
        if n
    ]
    labels = [_text(_LEFT - 4, _TOP + 4, str(counts.max()), "end"), _text(_LEFT - 4, _y(0), "0", "end")]
    every = max(1, math.ceil(len(counts) / 4))
    labels += [_below(_LEFT + k * wide, f"{(first + k) * step:.6g}") for k in range(0, len(counts) + 1, every)]
    caption = f"{known.size} {what}: {known.min():.4g} to {known.max():.4g}, median {np.median(known):.4g} {unit}"
    drawn = _svg([*bars, _axis(), *labels], f"{title}: {caption}")
    return _figure(f"{title} ({unit})" if unit else title, drawn, caption)


def hu_curve(previews: Sequence[PreviewRecord]) -> str:
    """Draw the mean fraction of voxels at each HU over all scans, on a logarithmic axis, as an HTML figure."""
    title = "Hounsfield units of all scans"
    if len(forms := {(p.hu_from, p.hu_step, len(p.counts)) for p in previews}) != 1:
        return _figure(title, "", "no histograms" if not forms else "the histograms have different bins")
    start, step, count = forms.pop()
    fractions = np.mean([np.array(p.counts) / max(1, sum(p.counts) + p.below + p.above) for p in previews], axis=0)
    x = _LEFT + (np.arange(count) + 0.5) * _PLOT / count
    y = [_y(max(0.0, 1 - math.log10(max(s, _SMALLEST)) / math.log10(_SMALLEST))) for s in fractions]
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    end = start + step * count
    labels = [_below(_LEFT + (hu - start) / (end - start) * _PLOT, str(hu)) for hu in range(-1000, end, 500)]
    labels += [_text(_LEFT - 4, _y(1 - k / 5) + 4, f"{10.0 ** (2 - k):g} %", "end") for k in range(0, 5, 2)]
    caption = f"mean fraction of the voxels in each {step} HU of {len(previews)} scans, on a logarithmic axis"
    curve = f'<polyline class="curve" points="{points}"/>'
    return _figure(f"{title} (HU)", _svg([curve, _axis(), *labels], caption), caption)


def froc_curve(score: Froc) -> str:
    """Draw sensitivity over false positives per scan, 1/8 to 8 on a logarithmic axis, as an HTML figure."""
    span = math.log2(RATES[-1] / RATES[0])

    def x(rate: float) -> float:
        return _LEFT + math.log2(rate / RATES[0]) / span * _PLOT

    rates = np.geomspace(RATES[0], RATES[-1], 200)
    height = np.interp(rates, score.curve[:, 0], score.curve[:, 1])
    points = " ".join(f"{x(rate):.1f},{_y(y):.1f}" for rate, y in zip(rates.tolist(), height.tolist(), strict=True))
    bars = zip(RATES, score.low, score.high, strict=False)
    parts = [f'<path class="axis" d="M{x(r):.1f} {_y(low):.1f}V{_y(high):.1f}"/>' for r, low, high in bars]
    parts += [f'<polyline class="curve" points="{points}"/>', _axis()]
    parts += [_below(x(rate), f"1/{round(1 / rate)}" if rate < 1 else f"{rate:g}") for rate in RATES]
    parts += [_text(_LEFT - 4, _y(y) + 4, f"{y:g}", "end") for y in (0.0, 0.5, 1.0)]
    caption = f"CPM {score.cpm:.3f} [{score.cpm_low:.3f}, {score.cpm_high:.3f}]: mean of the sensitivities at 1/8 to 8"
    return _figure("Sensitivity over false positives per scan", _svg(parts, caption), caption)


def nice_step(rough: float) -> float:
    """Round a number up to 1, 2, 2.5 or 5 times a power of ten.

    Parameters
    ----------
    rough : float
        Above 0.

    Returns
    -------
    float

    Examples
    --------
    >>> nice_step(0.013), nice_step(2.1), nice_step(70)
    (0.02, 2.5, 100.0)
    """
    power = 10.0 ** math.floor(math.log10(max(rough, 1e-9)))
    return next(nice * power for nice in _ROUND_STEPS if nice * power >= rough * (1 - 1e-9))


def _y(fraction: float) -> float:
    return _TOP + (1 - fraction) * (HEIGHT - _TOP - _BOTTOM)


def _axis() -> str:
    return f'<path class="axis" d="M{_LEFT} {_TOP}V{_y(0):.0f}H{WIDTH - _RIGHT}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html(text)}</text>'


def _below(x: float, text: str) -> str:
    return _text(x, HEIGHT - 8, text, "middle")


def _svg(parts: Sequence[str], label: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html(label)}">{"".join(parts)}</svg>'


def _figure(title: str, drawn: str, caption: str) -> str:
    return f"<figure><h3>{html(title)}</h3>{drawn}<figcaption>{html(caption)}</figcaption></figure>"
