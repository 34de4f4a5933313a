"""Where the phantom is ill: signed distances of consolidation, fluid, haze and a mass in the patient's frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from hilum.phantom.shapes import ellipsoid

if TYPE_CHECKING:
    from hilum.phantom.anatomy import Build
    from hilum.phantom.shapes import Floats, Points

Missing = Literal["none", "right", "left"]

_WEDGE_TIP, _WEDGE_AXIS, _WEDGE_SLOPE = (-52.0, 34.0, -22.0), (-0.62, 0.55, -0.56), 0.5
_MASS_CENTER, _MASS_RADII = (-52.0, 22.0, 8.0), (27.0, 24.0, 26.0)


@dataclass(frozen=True)
class Disease:
    """Which diseases are painted, and how the patient lies."""

    consolidation: bool = False
    effusion: bool = False
    emphysema: bool = False
    haze: bool = False
    mass: bool = False
    missing: Missing = "none"
    prone: bool = False

    @property
    def back(self) -> float:
        """1 where the patient's back is down, -1 where the front is."""
        return -1.0 if self.prone else 1.0


def wedge(points: Points, build: Build) -> Floats:
    """Signed distance, mm, of the consolidation: a cone with its base at the ribs of the right lower lobe."""
    rel = [p - np.float32(c) for p, c in zip(points, _WEDGE_TIP, strict=True)]
    along = sum((r * np.float32(c) for r, c in zip(rel, _WEDGE_AXIS, strict=True)), np.float32(0))
    far = np.sqrt(np.maximum(rel[0] ** 2 + rel[1] ** 2 + rel[2] ** 2 - along * along, 0))
    return np.asarray(np.maximum(far - along * np.float32(_WEDGE_SLOPE), points[0] - np.float32(build.junction)))


def fluid(points: Points, build: Build, disease: Disease) -> Floats:
    """Signed distance, mm, of pleural fluid: under a level in the left lung, and all of a lung that is missing."""
    x, y, z = points
    middle = np.float32(build.junction)
    parts = [np.broadcast_to(np.float32(1e3), np.broadcast_shapes(x.shape, y.shape, z.shape))]
    if disease.effusion:
        level = np.float32(44) - np.float32(disease.back) * y + np.float32(0.25) * (z + 40)
        parts.append(np.maximum(level, middle - x))
    if disease.missing != "none":
        side = x - middle - np.float32(0.03) * z  # as the membrane between the lungs lies
        parts.append(side if disease.missing == "right" else -side)
    distance = parts[0]
    for part in parts[1:]:
        distance = np.minimum(distance, part)
    return np.asarray(distance, np.float32)


def tumor(points: Points) -> Floats:
    """Signed distance, mm, of a mass at the right hilum."""
    return ellipsoid(points, _MASS_CENTER, _MASS_RADII)


def clear(points: Points, build: Build, disease: Disease) -> Floats:
    """Distance, mm, from consolidation, fluid and mass, where a nodule could not be told from them."""
    distance = fluid(points, build, disease)
    if disease.consolidation:
        distance = np.minimum(distance, wedge(points, build))
    if disease.mass:
        distance = np.minimum(distance, tumor(points))
    return distance
