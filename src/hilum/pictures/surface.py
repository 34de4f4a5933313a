"""The skeleton, or the lungs with their nodules, as surfaces seen from the front and from the side."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from hilum._kernels.raster import draw_triangles
from hilum.errors import InputError
from hilum.ops.surfaces import Mesh, surfaces
from hilum.pictures import colors, drawing
from hilum.pictures.figure import Figure, dots, figure_inches, letter_size, wrap
from hilum.pictures.planes import Drawn, Pair, scan_of
from hilum.scan import LEFT_LUNG, RIGHT_LUNG
from hilum.volume import Mask

Color = tuple[float, float, float, float]
Part = tuple[Mesh, Color]
Vectors = NDArray[np.float64]

DOTS = 150
_OVERSAMPLING = 2  # pictures are drawn at so many times the resolution and averaged, so that edges are smooth

RIM, VEIL = 0.5, 0.3  # cosine of the slope where a nodule's rim begins; how much of a lung's color covers a nodule

_MARGIN_MM = 14.0  # space around the surfaces, for letters and the scale

_LIGHT = np.array([-0.35, -0.5, -0.79])  # from the surface to the light: along the picture's right, down, and away


def surface(
    scan: Drawn,
    *,
    kind: str = "lungs",
    threshold_hu: float = 400.0,
    turns_deg: Sequence[float] = (0.0, 90.0),
    meshes: Sequence[Mesh] | None = None,
    lungs: Mask | None = None,
    width_mm: float | None = None,
) -> Figure:
    """Draw the surface of the skeleton, or of transparent lungs with their nodules.

    Parameters
    ----------
    scan : Scan, Volume or RunScan, HU
        With lungs, here or as `lungs`, if they are drawn.
    kind : {"lungs", "skeleton"}
        What is drawn; by default the lungs.
    threshold_hu : float, default 400.0
        The surface of the skeleton.
    turns_deg : sequence of float, default (0.0, 90.0)
        The directions to look from: 0 from the front, 90 from the patient's left, 180 from the back.
    meshes : sequence of Mesh, optional
        The result of `hilum.ops.surfaces.surfaces`, if it is known.
    lungs : Mask, optional
        Replaces those of the scan; on its grid.
    width_mm : float, optional
        Width of the figure, 80 to 500; 85 is a column of a paper. The default is 5 inches for each view.

    Returns
    -------
    matplotlib.figure.Figure
        In parallel projection, to scale, the head on top.

    Raises
    ------
    InputError
        If the kind is unknown, there is nothing to draw, or the width is out of range.

    Examples
    --------
    >>> import hilum
    >>> scan = hilum.read("scan", annotations="annotations.csv")
    >>> figure = hilum.plot.surface(scan, kind="skeleton", turns_deg=(0,))
    >>> figure.savefig("surface.png")
    """
    scan = scan_of(scan, lungs=lungs)
    meshes = meshes if meshes is not None else surfaces(scan, kind=kind, threshold_hu=threshold_hu)
    if not meshes or not turns_deg:
        raise InputError("there is no surface or no view of it to draw", code="nothing-to-draw")
    parts = [(mesh, part_color(mesh)) for mesh in meshes]
    vertices = np.concatenate([mesh.vertices for mesh in meshes])
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    middle = (low + high) / 2
    # All views have the same scale: that of the widest.
    half = max(float(np.abs((vertices - middle) @ _view_axes(turn)[0]).max()) for turn in turns_deg) + _MARGIN_MM
    size = (high[2] - low[2] + 2 * _MARGIN_MM, 2 * half)
    inches, dpi = figure_inches(width_mm, 5.0 * len(turns_deg)), dots(width_mm, DOTS)
    each, letters = inches / len(turns_deg), letter_size(inches, 9.0)
    title = wrap(drawing.plain(_title(meshes, kind, threshold_hu)), inches, letters)
    high = each * size[0] / size[1] + 0.6 + 0.02 * letters * (title.count("\n") + 1)
    figure = Figure(figsize=(inches, high), layout="constrained", dpi=dpi)
    for panel, turn in zip(figure.subplots(1, len(turns_deg), squeeze=False)[0], turns_deg, strict=True):
        picture = render(parts, turn, middle, size, dots_per_mm=each * dpi / size[1])
        drawing.draw_image(panel, picture, size, interpolation="antialiased")
        _draw_labels(panel, turn, size, letters)
    figure.suptitle(title, fontsize=letters)
    return figure


def part_color(mesh: Mesh) -> Color:
    """Give red, green, blue and opacity of a mesh, from 0 to 1, by its name."""
    if mesh.name.startswith("nodule"):
        return (*to_rgb(colors.NODULE), 1.0)
    if "lung" in mesh.name:
        # The opacity where a surface faces the viewer; `render` lets it grow to 1 at the rim.
        return (*to_rgb(colors.LABELS[LEFT_LUNG if mesh.name.startswith("left") else RIGHT_LUNG]), 0.4)
    return (*to_rgb("#cdb68a"), 1.0)


def render(parts: Sequence[Part], turn_deg: float, middle: Vectors, size: Pair, *, dots_per_mm: float) -> Vectors:
    """Draw meshes on white, seen from a direction: 0 from the front, 90 from the patient's left.

    `middle`, (x, y, z), LPS mm, is the middle of the picture, `size` its height and width, mm. The result has the shape
    (rows, columns, 3): red, green and blue from 0 to 1.
    """
    fine = dots_per_mm * _OVERSAMPLING
    shape = tuple(_OVERSAMPLING * max(1, round(length * dots_per_mm)) for length in size)
    right, away = _view_axes(turn_deg)
    camera = np.stack([right, (0.0, 0.0, -1.0), away])
    layers = []
    for mesh, color in parts:
        projected = (mesh.vertices - middle) @ camera.T
        projected[:, 0] = (projected[:, 0] + size[1] / 2) * fine - 0.5
        projected[:, 1] = (projected[:, 1] + size[0] / 2) * fine - 0.5
        depth, normals = draw_triangles(projected, mesh.normals @ camera.T, mesh.faces, (shape[0], shape[1]))
        layers.append((depth, normals, color))
    transparent = [layer for layer in layers if layer[2][3] < 1]
    picture = np.ones((*shape, 3))
    nearest = np.full(shape, np.inf)
    for depth, normals, color in (layer for layer in layers if layer[2][3] >= 1):
        front = depth < nearest
        # What lies in transparent lungs gets a dark rim, which a gray print shows too.
        rim = (np.abs(_units(normals[front])[:, 2]) < RIM) & bool(transparent)
        picture[front] = np.where(rim, 0.25, 1.0)[:, None] * _shade(normals[front], color)
        nearest[front] = depth[front]
    for depth, normals, color in sorted(transparent, key=lambda layer: -_mean_depth(layer[0])):
        front = depth < nearest
        facing = np.abs(_units(normals[front])[:, 2])
        veil = np.where(np.isfinite(nearest[front]), VEIL, 1.0)
        opacity = (veil * (color[3] + (1 - color[3]) * (1 - facing) ** 2))[:, None]
        picture[front] = opacity * _shade(normals[front], color) + (1 - opacity) * picture[front]
    blocks = picture.reshape(shape[0] // _OVERSAMPLING, _OVERSAMPLING, shape[1] // _OVERSAMPLING, _OVERSAMPLING, 3)
    clipped: Vectors = np.clip(blocks.mean(axis=(1, 3)), 0.0, 1.0)
    return clipped


def _view_axes(turn_deg: float) -> tuple[Vectors, Vectors]:
    """The picture's right and its depth as unit vectors, LPS."""
    cosine, sine = math.cos(math.radians(turn_deg)), math.sin(math.radians(turn_deg))
    return np.array([cosine, sine, 0.0]), np.array([-sine, cosine, 0.0])


def _units(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)


def _shade(normals: Vectors, color: Color) -> Vectors:
    light = np.clip(_units(normals) @ (_LIGHT / np.linalg.norm(_LIGHT)), 0.0, 1.0)
    shaded: Vectors = (0.3 + 0.75 * light)[:, None] * np.array(color[:3])
    return shaded


def _mean_depth(depth: Vectors) -> float:
    drawn = depth[np.isfinite(depth)]
    return float(drawn.mean()) if drawn.size else 0.0


def _draw_labels(panel: Any, turn: float, size: Pair, letters: float) -> None:
    """Draw the letters of the patient's sides, a bar of 50 mm, and the title."""
    sides = {0: "RL", 90: "AP", 180: "LR", 270: "PA"}.get(round(turn) % 360, "")
    style = {"transform": panel.transAxes, "fontsize": letters + 1, "fontweight": "bold"}
    for letter, x, align in zip(sides, (0.01, 0.99), ("left", "right"), strict=False):
        panel.text(x, 0.5, letter, ha=align, **style)
    for letter, y, align in (("H", 0.995, "top"), ("F", 0.005, "bottom")):
        panel.text(0.5, y, letter, ha="center", va=align, **style)
    bar = [size[1] - 55.0, size[1] - 5.0]
    panel.plot(bar, [size[0] - 3.0] * 2, color="black", linewidth=0.3 * letters, solid_capstyle="butt")
    panel.text(size[1] - 5.0, size[0] - 6.0, "50 mm", ha="right", fontsize=letters - 0.5 if letters > 7 else 6)
    views = {0: "from the front", 90: "from the left", 180: "from the back", 270: "from the right"}
    panel.set_title(views.get(round(turn) % 360, f"rotated by {turn:g} degrees"), fontsize=letters)


def _title(meshes: Sequence[Mesh], kind: str, threshold: float) -> str:
    if kind == "skeleton":
        return f"surface of what is above {threshold:g} HU: {meshes[0].volume_ml:.0f} ml"
    volumes = [f"{m.name}{_named_color(m)}: {m.volume_ml:.{0 if 'lung' in m.name else 2}f} ml" for m in meshes[:6]]
    return ", ".join(volumes) + (f", {len(meshes) - 6} more" if len(meshes) > 6 else "")


def _named_color(mesh: Mesh) -> str:
    return " (yellow)" if mesh.name.startswith("nodule") else " (orange)" if mesh.name.startswith("left") else " (blue)"
