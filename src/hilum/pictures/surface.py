"""The skeleton, or the lungs with their nodules, as solid bodies seen from the front and from the side."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from hilum._kernels.raster import draw_triangles
from hilum.errors import InputError
from hilum.ops.surfaces import surfaces
from hilum.pictures.drawing import plain
from hilum.pictures.planes import LEFT, NODULE, RIGHT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hilum.ops.surfaces import Mesh
    from hilum.scan import Scan

    Color = tuple[float, float, float, float]

BONE = "#cdb68a"
GLASS = 0.4
"""Opacity of lungs where they face the eye; toward their rim they grow opaque."""

DOTS = 150
_FINER = 2
"""Pictures are drawn so many times finer and averaged, so that edges are smooth."""

_MARGIN_MM = 14.0
"""Room around the bodies, for letters and the scale."""

_LIGHT = np.array([-0.35, -0.5, -0.79])
"""Where the light is, as seen from the surface: to the right, down, away from the eye."""


def surface(
    scan: Scan,
    *,
    kind: str = "lungs",
    threshold_hu: float = 400.0,
    turns_deg: Sequence[float] = (0.0, 90.0),
    meshes: Sequence[Mesh] | None = None,
) -> Figure:
    """Draw the surface of the skeleton, or of transparent lungs with the nodules inside.

    Parameters
    ----------
    scan : Scan
        In HU, with ``lungs`` for their surface.
    kind : {"lungs", "skeleton"}
    threshold_hu : float
        For the skeleton.
    turns_deg : sequence of float
        A picture for each: 0 from the front, 90 from the patient's left, 180 from the back.
    meshes : sequence of Mesh, optional
        What `hilum.ops.surfaces.surfaces` found already.

    Returns
    -------
    matplotlib.figure.Figure
        Without perspective, to scale, the head on top.

    Raises
    ------
    InputError
        If there is no such kind, or nothing to draw.
    """
    found = tuple(meshes) if meshes is not None else surfaces(scan, kind=kind, threshold_hu=threshold_hu)
    if not found or not turns_deg:
        raise InputError("there is no surface or no view of it to draw", code="nothing-to-draw")
    parts = [(mesh, part_color(mesh)) for mesh in found]
    corners = np.concatenate([mesh.vertices for mesh in found])
    low, high = corners.min(axis=0), corners.max(axis=0)
    middle = (low + high) / 2
    # The same scale for all views: as wide as the widest of them.
    half = max(float(np.abs((corners - middle) @ _axes(turn)[0]).max()) for turn in turns_deg) + _MARGIN_MM
    size = (high[2] - low[2] + 2 * _MARGIN_MM, 2 * half)
    inches = 5.0
    figure = Figure(figsize=(inches * len(turns_deg), inches * size[0] / size[1] + 0.7), layout="constrained", dpi=DOTS)
    for panel, turn in zip(figure.subplots(1, len(turns_deg), squeeze=False)[0], turns_deg, strict=True):
        picture = render(parts, turn, middle, size, dots_per_mm=inches * DOTS / size[1])
        panel.imshow(picture, extent=(0.0, size[1], size[0], 0.0), interpolation="antialiased")
        panel.set_axis_off()
        _label(panel, turn, size)
    figure.suptitle(plain(_told(found, kind, threshold_hu)), fontsize=10)
    return figure


def part_color(mesh: Mesh) -> Color:
    """The color of a part by its name, and its opacity.

    Parameters
    ----------
    mesh : Mesh

    Returns
    -------
    tuple of float, (red, green, blue, opacity)
    """
    if mesh.name.startswith("nodule"):
        return (*to_rgb(NODULE), 1.0)
    if "lung" in mesh.name:
        return (*to_rgb(LEFT if mesh.name.startswith("left") else RIGHT), GLASS)
    return (*to_rgb(BONE), 1.0)


def render(
    parts: Sequence[tuple[Mesh, Color]],
    turn_deg: float,
    middle: NDArray[np.float64],
    size: tuple[float, float],
    *,
    dots_per_mm: float,
) -> NDArray[np.float64]:
    """Draw meshes on white.

    Parameters
    ----------
    parts : sequence of (Mesh, color)
    turn_deg : float
        How far the eye has gone around the patient, from the front to the patient's left.
    middle : ndarray, shape (3,), (x, y, z), LPS mm
        What is in the middle of the picture.
    size : tuple of float
        Height and width of the picture, mm.
    dots_per_mm : float

    Returns
    -------
    ndarray, shape (rows, columns, 3)
        Red, green and blue from 0 to 1.
    """
    fine = dots_per_mm * _FINER
    shape = tuple(max(_FINER, _FINER * round(length * dots_per_mm)) for length in size)
    right, away = _axes(turn_deg)
    camera = np.stack([right, (0.0, 0.0, -1.0), away])
    solid: list[tuple[NDArray[np.float64], NDArray[np.float64], Color]] = []
    glass: list[tuple[NDArray[np.float64], NDArray[np.float64], Color]] = []
    for mesh, color in parts:
        seen = (mesh.vertices - middle) @ camera.T
        seen[:, 0] = (seen[:, 0] + size[1] / 2) * fine - 0.5
        seen[:, 1] = (seen[:, 1] + size[0] / 2) * fine - 0.5
        depth, normals = draw_triangles(seen, mesh.normals @ camera.T, mesh.faces, (shape[0], shape[1]))
        (solid if color[3] >= 1 else glass).append((depth, normals, color))
    picture = np.ones((*shape, 3))
    nearest = np.full(shape, np.inf)
    for depth, normals, color in solid:
        front = depth < nearest
        picture[front] = _shade(normals[front], color)
        nearest[front] = depth[front]
    for depth, normals, color in sorted(glass, key=lambda layer: -_mean_depth(layer[0])):
        front = depth < nearest
        facing = np.abs(_units(normals[front])[:, 2])
        opacity = (color[3] + (1 - color[3]) * (1 - facing) ** 2)[:, None]
        picture[front] = opacity * _shade(normals[front], color) + (1 - opacity) * picture[front]
    small = picture.reshape(shape[0] // _FINER, _FINER, shape[1] // _FINER, _FINER, 3).mean(axis=(1, 3))
    clipped: NDArray[np.float64] = np.clip(small, 0.0, 1.0)
    return clipped


def _axes(turn_deg: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the picture's right and its depth run, LPS."""
    cosine, sine = math.cos(math.radians(turn_deg)), math.sin(math.radians(turn_deg))
    return np.array([cosine, sine, 0.0]), np.array([-sine, cosine, 0.0])


def _units(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    units: NDArray[np.float64] = vectors / np.where(lengths > 0, lengths, 1.0)
    return units


def _shade(normals: NDArray[np.float64], color: Color) -> NDArray[np.float64]:
    light = np.clip(_units(normals) @ (_LIGHT / np.linalg.norm(_LIGHT)), 0.0, 1.0)
    shaded: NDArray[np.float64] = (0.3 + 0.75 * light)[:, None] * np.array(color[:3])
    return shaded


def _mean_depth(depth: NDArray[np.float64]) -> float:
    there = np.isfinite(depth)
    return float(depth[there].mean()) if there.any() else 0.0


def _label(panel: Any, turn: float, size: tuple[float, float]) -> None:
    """Letters where the picture's sides are the patient's, and a bar of 5 cm."""
    letters = {0: "RL", 90: "AP", 180: "LR", 270: "PA"}.get(round(turn) % 360, "")
    for letter, x, align in zip(letters, (0.01, 0.99), ("left", "right"), strict=False):
        panel.text(x, 0.5, letter, transform=panel.transAxes, ha=align, fontsize=11, fontweight="bold")
    for letter, y, align in (("H", 0.995, "top"), ("F", 0.005, "bottom")):
        panel.text(0.5, y, letter, transform=panel.transAxes, ha="center", va=align, fontsize=11, fontweight="bold")
    panel.plot([size[1] - 55.0, size[1] - 5.0], [size[0] - 3.0] * 2, color="black", linewidth=3, solid_capstyle="butt")
    panel.text(size[1] - 30.0, size[0] - 5.0, "50 mm", ha="center", fontsize=8)
    told = {0: "from the front", 90: "from the left", 180: "from the back", 270: "from the right"}
    panel.set_title(told.get(round(turn) % 360, f"turned by {turn:g} degrees"), fontsize=9)


def _told(meshes: Sequence[Mesh], kind: str, threshold: float) -> str:
    if kind == "skeleton":
        return f"surface at {threshold:g} HU: {meshes[0].volume_ml:.0f} ml"
    volumes = [f"{m.name}: {m.volume_ml:.{0 if 'lung' in m.name else 2}f} ml" for m in meshes[:6]]
    more = f", {len(meshes) - 6} more" if len(meshes) > 6 else ""
    return ", ".join(volumes) + more
