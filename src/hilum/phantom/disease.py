"""The phantom's diseases: signed distances to consolidation, pleural fluid and a mass, in the patient's frame."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from hilum.phantom.anatomy import BodyBuild
from hilum.phantom.shapes import Floats, Points, ellipsoid

MissingLung = Literal["none", "right", "left"]

_CONE_TIP, _CONE_AXIS, _CONE_SLOPE = (-52.0, 34.0, -22.0), (-0.62, 0.55, -0.56), 0.5
_MASS_CENTER, _MASS_RADII = (-52.0, 22.0, 8.0), (27.0, 24.0, 26.0)


@dataclass(frozen=True)
class Disease:
    """The diseases of a patient, and whether the patient is prone; `haze` stands for opacities."""

    consolidation: bool = False
    effusion: bool = False
    emphysema: bool = False
    haze: bool = False
    mass: bool = False
    missing: MissingLung = "none"
    prone: bool = False

    @property
    def back(self) -> float:
        """1 if the patient is supine, -1 if prone."""
        return -1.0 if self.prone else 1.0


def consolidation_distance(points: Points, build: BodyBuild) -> Floats:
    """Signed distance, mm, to the consolidation: a cone in the right lower lobe with its base at the ribs."""
    rel = [p - np.float32(c) for p, c in zip(points, _CONE_TIP, strict=True)]
    along = sum((r * np.float32(c) for r, c in zip(rel, _CONE_AXIS, strict=True)), np.float32(0))
    far = np.sqrt(np.maximum(rel[0] ** 2 + rel[1] ** 2 + rel[2] ** 2 - along * along, 0))
    return np.asarray(np.maximum(far - along * np.float32(_CONE_SLOPE), points[0] - np.float32(build.junction)))


def fluid_distance(points: Points, build: BodyBuild, disease: Disease) -> Floats:
    """Signed distance, mm, to pleural fluid: below a level in the left lung, and in all of a missing lung."""
    x, y, z = points
    middle = np.float32(build.junction)
    distance = np.broadcast_to(np.float32(1e3), np.broadcast_shapes(x.shape, y.shape, z.shape))
    if disease.effusion:
        level = np.float32(44) - np.float32(disease.back) * y + np.float32(0.25) * (z + 40)
        distance = np.minimum(distance, np.maximum(level, middle - x))
    if disease.missing != "none":
        side = x - middle - np.float32(0.03) * z  # the plane of the anterior junction line
        distance = np.minimum(distance, side if disease.missing == "right" else -side)
    return np.asarray(distance, np.float32)


def mass_distance(points: Points) -> Floats:
    """Signed distance, mm, to a mass at the right hilum."""
    return ellipsoid(points, _MASS_CENTER, _MASS_RADII)


def disease_distance(points: Points, build: BodyBuild, disease: Disease) -> Floats:
    """Signed distance, mm, to consolidation, fluid and mass, in which a nodule could not be seen."""
    distance = fluid_distance(points, build, disease)
    if disease.consolidation:
        distance = np.minimum(distance, consolidation_distance(points, build))
    if disease.mass:
        distance = np.minimum(distance, mass_distance(points))
    return distance
