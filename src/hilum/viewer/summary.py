"""What a notebook shows of a volume, a mask or a scan as the value of a cell: small pictures, geometry, notes.

The pictures are those of `hilum.ops.preview`: they read the voxels of a few slices, need no plotting library, and have
some ten kilobytes. All text is escaped.
"""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

import numpy as np

from hilum.geometry import Geometry
from hilum.io.png import png_bytes
from hilum.ops.intensity import WINDOW_PRESETS, Window
from hilum.ops.labels.overlay import HEX_COLORS, number_colors
from hilum.ops.labels.shares import measure_labels
from hilum.ops.preview import Panel, draw_strip
from hilum.ops.preview_slices import COLORS, LABEL_PALETTE, RIGHT_COLOR, Picture
from hilum.ops.reorient import reorient
from hilum.report.text import html, visible
from hilum.scan import Label, Nodule, Note, Scan
from hilum.volume import Mask, Volume

MOST_LINES = 12  # lines of one kind: nodules, notes, labels

_LUNGS = tuple(f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in COLORS)  # right, left, airways; nodules
_MASK_COLORS = (*_LUNGS, *HEX_COLORS)  # of the values 1, 2, ... of a mask; they repeat
_SIDES = (("head", "feet"), ("back", "front"), ("left", "right"))  # ends of the world's z, y, x axes

_AIR_HU = -500  # the least value of a volume with air is below; then the voxels are drawn as HU
_SAMPLE = 64  # at most so many voxels along each axis are looked at for the window of other values

_NUMBERS = "biuf"  # kinds of dtype that can be drawn

_STYLE = "text-align:left;vertical-align:top;padding:1px 8px 1px 0;border:0;background:none"

Row = tuple[str, str]  # a name, and its value as HTML


def volume_html(volume: Volume) -> str:
    """Describe a volume or mask as HTML.

    Parameters
    ----------
    volume : Volume or Mask
        What is described.

    Returns
    -------
    str
        An element without scripts; all that it shows is in it.
    """
    rows = _described(volume)
    if not isinstance(volume, Mask):
        return page("Volume", *_volume_picture(Scan("", volume)), [*rows, _values(volume)])
    found = measure_labels(volume.array, workers=0)
    each = volume.geometry.voxel_volume / 1000
    names = {value: f"{value} {visible(volume.names.get(value, ''), limit=60)}".rstrip() for value in found}
    labels = (
        f"{_square(_MASK_COLORS[(value - 1) % len(_MASK_COLORS)])}{html(names[value])}: {ml(one.voxels * each)}"
        for value, one in found.items()
    )
    rows.append(("labels", join_lines(labels, len(found)) or "none: no voxel is marked"))
    return page("Mask", *_mask_picture(volume, list(found)), rows)


def scan_html(scan: Scan) -> str:
    """Describe a scan as HTML, as `volume_html`; with outlines of its lungs, label maps and nodules."""
    rows = [*_described(scan.ct), _values(scan.ct)]
    if scan.series_uid:
        rows.insert(0, ("series", html(visible(scan.series_uid, limit=100))))
    if scan.lungs is not None:
        rows.append(("lungs", _lung_volumes(scan, scan.lungs)))
    rows += nodule_lines(scan.nodules, annotated=scan.annotated)
    colors = number_colors({name: one.values for name, one in scan.label_maps.items()})
    maps = (
        f"{html(visible(name, limit=60))}: {_map_labels(scan.label_maps[name].values, colors[name])}" for name in colors
    )
    rows += [("label maps", join_lines(maps, len(colors)))] if colors else []
    rows += note_lines(scan.labels, scan.notes)
    return page("Scan", *_volume_picture(scan), rows)


def page(title: str, picture: str, caption: str, rows: Sequence[Row]) -> str:
    """Put a title, pictures with a line below them, and rows into one element."""
    head = f"{_STYLE};white-space:nowrap"
    cells = (f'<tr><th style="{head}">{name}</th><td style="{_STYLE}">{value}</td></tr>' for name, value in rows)
    return (  # the class keeps a notebook from setting what stands between dollar signs as mathematics
        '<div class="tex2jax_ignore mathjax_ignore" style="max-width:100%">'
        f'<strong>{html(title)}</strong>{picture}<div style="font-size:85%">{caption}</div>'
        f'<table style="border-collapse:collapse;margin:4px 0">{"".join(cells)}</table></div>'
    )


def _volume_picture(scan: Scan) -> tuple[str, str]:
    if scan.ct.array.dtype.kind not in _NUMBERS:
        return "", f"no picture of {html(scan.ct.array.dtype)} voxels"
    window, told = _window(scan.ct)
    with np.errstate(all="ignore"):  # of NaN, or of numbers beyond float32
        pixels, panels = draw_strip(scan, window=window)
    return _image(pixels, panels, scan.ct, f"; {told}")


def _mask_picture(mask: Mask, values: Sequence[int]) -> tuple[str, str]:
    """Draw a mask filled with its colors on black."""
    voxel = np.array(-32768, np.int16)
    voxel.flags.writeable = False  # so that the volume takes its one voxel of memory as it is
    black = Volume(np.broadcast_to(voxel, mask.shape), mask.geometry)
    fill = {value: RIGHT_COLOR + (value - 1) % len(_MASK_COLORS) for value in values}
    return _image(*draw_strip(Scan("", black, lungs=mask), fill=fill), mask, "")


def _image(pixels: Picture, panels: Sequence[Panel], volume: Volume, window: str) -> tuple[str, str]:
    """The strip as an element, and the line below it, which is also its description for those who do not see it."""
    shape = reorient(volume).shape
    parts = []
    for plane, of in (("coronal", f" of {shape[1]}"), ("axial", f" of {shape[0]}"), ("nodule", "")):
        numbers = [str(panel.nodule or panel.place + 1) for panel in panels if panel.plane == plane]
        parts += [f"{plane} {', '.join(numbers)}{of}"] if numbers else []
    caption = html("; ".join(parts) + window)
    data = b64encode(png_bytes(pixels, LABEL_PALETTE)).decode()
    style = "display:block;max-width:100%;margin:4px 0;background:black"
    return f'<img alt="{caption}" style="{style}" src="data:image/png;base64,{data}">', caption


def _window(volume: Volume) -> tuple[Window, str]:
    """The window for a volume of unknown unit, and how the caption calls it: that of the lungs if there is air."""
    step = tuple(slice(None, None, -(-n // _SAMPLE)) for n in volume.shape)
    with np.errstate(all="ignore"):
        sample = volume.array[step].astype(np.float64)
        known = sample[np.isfinite(sample)]
        low, high = np.percentile(known, (0.5, 99.5)).tolist() if known.size else (0.0, 1.0)
    if low <= _AIR_HU:
        preset = WINDOW_PRESETS["lung"]
        return preset, f"lung window, {preset.center - preset.width / 2:g} to {preset.center + preset.width / 2:g} HU"
    return Window((low + high) / 2, max(high - low, 1e-6)), f"black {low:.4g}, white {high:.4g}"


def _described(volume: Volume) -> list[Row]:
    size = volume.array.nbytes
    stored = f"{size / 1e6:.3g} MB" if size >= 1e5 else f"{size} bytes"
    return grid_rows(volume.geometry, f", {html(volume.array.dtype)}, {stored}")


def grid_rows(grid: Geometry, stored: str = "") -> list[Row]:
    """The rows of a grid."""
    spacing = " &times; ".join(f"{s:.4g}" for s in grid.spacing)
    extent = " &times; ".join(f"{n * s:.4g}" for n, s in zip(grid.shape, grid.spacing, strict=True))
    return [
        ("shape (z, y, x)", " &times; ".join(map(str, grid.shape)) + stored),
        ("spacing (z, y, x)", f"{spacing} mm; in all {extent} mm"),
        ("origin (x, y, z)", f"{_point(grid.origin)}, LPS"),
        ("axes run to", _axes(grid)),
    ]


def nodule_lines(nodules: Sequence[Nodule], *, annotated: bool) -> list[Row]:
    """The row of the nodules, if the scan was searched for some."""
    lines = (f"{number}: {one.diameter_mm:.1f} mm at {_point(one.center)}" for number, one in enumerate(nodules, 1))
    told = join_lines(lines, len(nodules)) or "none"
    return [(f"{_square(_LUNGS[3])}nodules", told)] if nodules or annotated else []


def note_lines(labels: Mapping[str, Label], notes: Sequence[Note]) -> list[Row]:
    """The rows of the labels that a data set gives a scan, and of its notes."""
    given = (f"{html(visible(name, limit=60))}: {html(visible(one, limit=200))}" for name, one in labels.items())
    told = (f"{html(note.code)}: {html(visible(note.text, limit=300))}" for note in notes)
    rows = ("labels", join_lines(given, len(labels))), ("notes", join_lines(told, len(notes)))
    return [row for row in rows if row[1]]


def _axes(grid: Geometry) -> str:
    """Where the array axes run, and by how many degrees they are oblique."""
    along = np.array(grid.direction)[:, ::-1]  # to the head, the back, the left
    names = [_SIDES[k][int(axis[k] < 0)] for axis in along for k in [int(np.abs(axis).argmax())]]
    turned = np.degrees(np.arccos(np.clip(np.abs(along).max(axis=1), 0, 1))).max()
    return ", ".join(names) + (f"; oblique by {turned:.3g}°" if turned >= 0.05 else "")


def _values(volume: Volume) -> Row:
    """The range of the values; NaN is told."""
    array = volume.array
    if array.dtype.kind not in _NUMBERS:
        return "values", "no numbers that have an order"
    ends = np.array([(plane.min(), plane.max()) for plane in array], np.float64)  # a plane is read from memory once
    if not np.isnan(ends).any():
        return "values", f"{ends[:, 0].min():.6g} to {ends[:, 1].max():.6g}"
    missing, least, most = np.isnan(array).sum(), np.fmin.reduce(array, axis=None), np.fmax.reduce(array, axis=None)
    return "values", f"{least:.6g} to {most:.6g}; {missing} are NaN" if missing < array.size else "all are NaN"


def _lung_volumes(scan: Scan, lungs: Mask) -> str:
    keys = {1: ("right", "lung_right_ml"), 2: ("left", "lung_left_ml")}
    volumes = {side: scan.figures[key] for side, key in keys.values() if key in scan.figures}
    if not volumes:
        each = lungs.geometry.voxel_volume / 1000
        found = measure_labels(lungs.array, workers=0)
        volumes = {side: found[value].voxels * each for value, (side, _) in keys.items() if value in found}
    colors = dict(zip(("right", "left"), _LUNGS, strict=False))
    return ", ".join(f"{_square(colors[side])}{side} {ml(one)}" for side, one in volumes.items()) or "no lung is marked"


def _map_labels(values: Mapping[str, int], colors: Mapping[int, int]) -> str:
    named = sorted(values.items(), key=lambda item: item[1])
    return ", ".join(
        f"{_square(HEX_COLORS[colors[value]])}{html(visible(label, limit=60))}" for label, value in named[:MOST_LINES]
    ) + (f" and {len(named) - MOST_LINES} more" if len(named) > MOST_LINES else "")


def join_lines(lines: Iterable[str], count: int) -> str:
    """Join lines of HTML, the first of them if there are many."""
    rest = [f"and {count - MOST_LINES} more"] if count > MOST_LINES else []
    return "<br>".join([*islice(lines, MOST_LINES), *rest])


def _square(color: str) -> str:
    style = f"display:inline-block;width:0.7em;height:0.7em;margin-right:4px;background:{color}"
    return f'<span style="{style}"></span>'


def _point(world: Sequence[float]) -> str:
    return f"({', '.join(f'{c:.1f}' for c in world)}) mm"


def ml(volume: float) -> str:
    """Write a volume in milliliters."""
    return f"{volume:.0f} ml" if volume >= 100 else f"{volume:.3g} ml"
