"""Where patches are cut: at nodules, at a detector's candidates, in the lungs far from every nodule."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.errors import InputError
from hilum.geometry import Geometry, Vector
from hilum.ops.patches.boxes import Box
from hilum.ops.patches.shapes import PatchShape
from hilum.outputs.records import NoduleRecord
from hilum.volume import Mask

Points = Sequence[tuple[str, Vector]]
Spheres = NDArray[np.float64]

_BATCH, _TRIES = 64, 4096  # random voxels that are tried at once, and in total, for a position in the lungs


@dataclass(frozen=True)
class PatchPosition:
    """Where a patch is cut.

    Parameters
    ----------
    kind : {"nodule", "label", "candidate", "excluded", "non-nodule", "lung", "uniform"}
        What the patch shows.
    center : tuple of float, (z, y, x)
        The patch's center, a fractional voxel index; may be outside the volume.
    target : tuple of float, (x, y, z), LPS mm
        The nodule's center, the candidate, or the voxel that was drawn.
    nodule : int
        Label of the nodule; 0 without one.
    value : int
        1 at a nodule; the value of a label map at the voxel that was drawn from it; else 0.
    """

    kind: str
    center: Vector
    target: Vector
    nodule: int = 0
    value: int = 0

    def start(self, size: Sequence[float]) -> Box:
        """The first voxel, (z, y, x), of the box of this size around the center."""
        (a, b, c), (nz, ny, nx) = self.center, size
        return round(a - nz / 2 + 0.5), round(b - ny / 2 + 0.5), round(c - nx / 2 + 0.5)


def as_vector(point: NDArray[np.float64]) -> Vector:
    """Three numbers as a tuple."""
    a, b, c = point.tolist()
    return a, b, c


def nodule_spheres(nodules: Sequence[NoduleRecord]) -> Spheres:
    """Give center (x, y, z), LPS mm, and diameter, mm, of each nodule, shape (n, 4)."""
    return np.array([(*one.world, one.diameter_mm) for one in nodules], np.float64).reshape(-1, 4)


def are_far(world: ArrayLike, spheres: Spheres, distance_mm: float) -> NDArray[np.bool_]:
    """Mark the points, shape (m, 3), LPS mm, that have at least this distance to every sphere's surface."""
    distances = np.linalg.norm(np.asarray(world, np.float64)[:, None] - spheres[:, :3], axis=2) - spheres[:, 3] / 2
    return np.asarray((distances >= distance_mm).all(axis=1))


def check_jitter(grid: Geometry, shape: PatchShape, jitter_mm: float, *, factor: float = 1.0) -> None:
    """Refuse a jitter that could move a nodule's center out of its patch.

    `factor` says how much farther augmentation may move the nodule.
    """
    limit = max(min((n / 2 - 1) * s for n, s in zip(shape.size, shape.spacing(grid), strict=True)) / factor, 0.0)
    if not 0 <= jitter_mm <= limit:
        what = f"jitter of {jitter_mm:g} mm: a nodule stays inside its patch up to {limit:g} mm"
        raise InputError(what, do="use less jitter or larger patches", code="option")


def nodule_position(
    grid: Geometry, nodule: NoduleRecord, shape: PatchShape, jitter_mm: float, generator: np.random.Generator
) -> PatchPosition:
    """Draw a patch around a nodule of a scan, moved by up to `jitter_mm` along each array axis."""
    jitter = generator.uniform(-jitter_mm, jitter_mm, 3) / grid.spacing
    center = as_vector(shape.center(grid.world_to_index(nodule.world) + jitter))
    return PatchPosition("nodule", center, nodule.world, nodule.label, value=1)


def lung_position(
    lungs: Mask,
    shape: PatchShape,
    generator: np.random.Generator,
    *,
    is_far: Callable[[ArrayLike], NDArray[np.bool_]] | None,
) -> PatchPosition | None:
    """Draw a patch at a random voxel of the lungs, far from what it must not show; None if none of 4096 voxels fits.

    Parameters
    ----------
    lungs : Mask
        May be memory-mapped: only the voxels tried are read.
    is_far : callable or None
        Marks those of the patches' centers, shape (n, 3), LPS mm, that are far enough, as `are_far` does. None accepts
        every voxel of the lungs.
    """
    grid = lungs.geometry
    for _ in range(_TRIES // _BATCH):
        voxels = generator.integers(0, grid.shape, size=(_BATCH, 3))
        voxels = voxels[lungs.array[tuple(voxels.T)] > 0]
        centers = shape.center(voxels)
        if is_far is not None and len(voxels):
            far = is_far(grid.index_to_world(centers))
            voxels, centers = voxels[far], centers[far]
        if len(voxels):
            return PatchPosition("lung", as_vector(centers[0]), as_vector(grid.index_to_world(voxels[0])))
    return None


def candidate_positions(
    grid: Geometry, points: Points, nodules: Spheres, shape: PatchShape, distance_mm: float
) -> tuple[list[PatchPosition], int, int]:
    """Give patches at those points of a table that are in the scan and far from every nodule, as `are_far` says.

    Returns
    -------
    positions : list of PatchPosition
        In the order of the points.
    outside, near : int
        How many points are outside the scan, and how many others are too close to a nodule.
    """
    positions, outside, near = [], 0, 0
    for kind, (x, y, z) in points:
        if not grid.contains((x, y, z)):
            outside += 1
            continue
        position = PatchPosition(kind, as_vector(shape.center(grid.world_to_index((x, y, z)))), (x, y, z))
        if are_far(grid.index_to_world(position.center)[None], nodules, distance_mm)[0]:
            positions.append(position)
        else:
            near += 1
    return positions, outside, near
