"""The geometry that a file header states, checked."""

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
"""What a scanner's room could hold: beyond it, a header is damaged or in other units."""


def make_geometry(
    shape: Sequence[int],
    *,
    spacing: Sequence[float],
    origin: Sequence[float],
    direction: Sequence[Sequence[float]],
    where: Path,
) -> Geometry:
    """A grid from a file; an impossible one is refused in the name of the file.

    Parameters
    ----------
    shape : sequence of int, (z, y, x)
    spacing : sequence of float, (z, y, x), mm
    origin : sequence of float, (x, y, z), LPS mm
    direction : three unit vectors (x, y, z), LPS
        Of the array axes z, y, x.
    where : Path

    Returns
    -------
    Geometry

    Raises
    ------
    GeometryError
    """
    try:
        grid = Geometry(tuple(shape), tuple(spacing), tuple(origin), tuple(tuple(v) for v in direction))  # type: ignore[arg-type]  # Geometry checks the lengths
    except GeometryError as error:
        raise GeometryError(error.what, where=where, do="correct the file's header") from error
    for name, values in (("spacing", grid.spacing), ("origin", grid.origin)):
        if max(map(abs, values)) >= _PLAUSIBLE_MM:
            what = f"{name} {values} mm is that of no patient"
            raise GeometryError(what, where=where, do="correct the file's header")
    return grid


def geometry_from_steps(shape: Sequence[int], *, steps: ArrayLike, origin: Sequence[float], where: Path) -> Geometry:
    """A grid from the steps between neighboring voxels.

    Parameters
    ----------
    shape : sequence of int, (z, y, x)
    steps : array_like, shape (3, 3), LPS mm
        One row (x, y, z) an array axis, in the order z, y, x.
    origin : sequence of float, (x, y, z), LPS mm
    where : Path

    Returns
    -------
    Geometry

    Raises
    ------
    GeometryError
        If a step is zero or not finite, or the steps are not at right angles.
    """
    rows = np.asarray(steps, np.float64)
    spacing = [math.hypot(*row) for row in rows.tolist()]
    if not (np.isfinite(rows).all() and min(spacing) > 0):
        raise GeometryError(
            f"steps between voxels {rows.tolist()} are not three vectors", where=where, do="correct the file's header"
        )
    direction = [[v / size + 0.0 for v in row] for row, size in zip(rows.tolist(), spacing, strict=True)]
    return make_geometry(shape, spacing=spacing, origin=origin, direction=direction, where=where)
