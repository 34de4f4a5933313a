"""The `Geometry` that a file header states, checked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hilum.errors import GeometryError
from hilum.geometry import Geometry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike

_PLAUSIBLE_MM = 1e5
"""A header with a larger spacing or origin is damaged, or uses another unit."""

_DO = "correct the file's header"


def make_geometry(
    shape: Sequence[int],
    *,
    spacing: Sequence[float],
    origin: Sequence[float],
    direction: Sequence[Sequence[float]],
    where: Path,
) -> Geometry:
    """Make a geometry from a file's header; an error names the file.

    Parameters
    ----------
    shape : sequence of int, (z, y, x)
    spacing : sequence of float, (z, y, x), mm
    origin : sequence of float, (x, y, z), LPS mm
    direction : three unit vectors (x, y, z), LPS
        Of the array axes z, y, x.
    where : Path

    Raises
    ------
    GeometryError
        If there is no such geometry, or its spacing or origin is impossible for a patient.
    """
    try:
        geometry = Geometry(tuple(shape), tuple(spacing), tuple(origin), tuple(tuple(v) for v in direction))  # type: ignore[arg-type]  # Geometry checks the lengths
    except GeometryError as error:
        raise GeometryError(error.what, where=where, do=_DO) from error
    for name, values in (("spacing", geometry.spacing), ("origin", geometry.origin)):
        if max(map(abs, values)) >= _PLAUSIBLE_MM:
            raise GeometryError(f"{name} {values} mm is impossible for a patient", where=where, do=_DO)
    return geometry


def geometry_from_steps(shape: Sequence[int], *, steps: ArrayLike, origin: Sequence[float], where: Path) -> Geometry:
    """Make a geometry from the vectors between neighboring voxels.

    Parameters
    ----------
    shape : sequence of int, (z, y, x)
    steps : array_like, shape (3, 3), LPS mm
        One row (x, y, z) for each array axis, in the order z, y, x.
    origin : sequence of float, (x, y, z), LPS mm
    where : Path

    Raises
    ------
    GeometryError
        If a step is zero or not finite, or the steps are not at right angles.
    """
    rows = np.asarray(steps, np.float64)
    spacing = [math.hypot(*row) for row in rows.tolist()]
    if not (np.isfinite(rows).all() and min(spacing) > 0):
        raise GeometryError(f"steps between voxels {rows.tolist()} are not three vectors", where=where, do=_DO)
    direction = [[v / size + 0.0 for v in row] for row, size in zip(rows.tolist(), spacing, strict=True)]
    return make_geometry(shape, spacing=spacing, origin=origin, direction=direction, where=where)
