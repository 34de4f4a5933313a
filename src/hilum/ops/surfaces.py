"""Compute surfaces of a scan as triangles: bone at a threshold, lungs, nodules.

1. The volume is averaged over cells of some 2 mm, which also reduces noise. For bone, cells outside the body (tables)
   and small components are removed.
2. The volume is padded with a value below the threshold, so that every surface is closed.
3. Marching cubes makes the triangles, in the variant of T. Lewiner et al. (Journal of Graphics Tools 8(2), 2003), which
   leaves no holes.
4. The vertices are transformed to world coordinates, and the triangles oriented so that their front is outside.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.anatomy.coarse import cell_means
from hilum._kernels.bitmask import bits
from hilum._kernels.bitmask.mask import Shape
from hilum._kernels.components import labeling, selection
from hilum.errors import InputError, UnsupportedError, one_line
from hilum.geometry import IDENTITY_DIRECTION, Geometry
from hilum.ops.bounding_box import bounding_box
from hilum.ops.coarse_grid import cell_size, voxels_per_cell
from hilum.ops.lungs.cells import CELL_MM
from hilum.ops.lungs.chest import divide_chest
from hilum.ops.nodules.masks import cover_nodules
from hilum.ops.reorient import reorient
from hilum.scan import LEFT_LUNG, RIGHT_LUNG, Nodule, Scan
from hilum.volume import Mask, Volume

BONE_THRESHOLD_HU = 400.0  # the 2017 tutorial's threshold for bone

COMPONENT_ML = 1.0  # smaller components are noise, or contrast in a vessel

_CELLS_PER_DIAMETER = 20
_FULL = 1000  # the value of a cell that a mask fills

KINDS = ("skeleton", "lungs")


@dataclass(frozen=True, eq=False)
class Mesh:
    """A surface of triangles in the patient's space.

    Parameters
    ----------
    name : str
        What it is of: ``right lung``, ``nodule 1``.
    vertices : ndarray of float64, shape (n, 3), (x, y, z), LPS mm
        The corners of the triangles.
    faces : ndarray of int64, shape (m, 3)
        The corners of each triangle, counterclockwise as seen from outside.
    """

    name: str
    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]

    @property
    def volume_ml(self) -> float:
        """What the surface encloses, by the divergence theorem; negative where it is inside out."""
        if not len(self.faces):
            return 0.0
        a, b, c = (self.vertices[self.faces[:, k]] - self.vertices[0] for k in range(3))
        return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6000)

    @property
    def normals(self) -> NDArray[np.float64]:
        """Unit vectors that point out of the surface at each vertex, means over its triangles by their area."""
        a, b, c = (self.vertices[self.faces[:, k]] for k in range(3))
        across = np.cross(b - a, c - a)
        count = len(self.vertices)
        sums = np.stack([sum(np.bincount(corner, part, count) for corner in self.faces.T) for part in across.T], -1)
        lengths = np.linalg.norm(sums, axis=-1, keepdims=True)
        return sums / np.where(lengths > 0, lengths, 1.0)


def surfaces(
    scan: Scan, *, kind: str = "lungs", threshold_hu: float = BONE_THRESHOLD_HU, cell_mm: float = 2.0, workers: int = 0
) -> tuple[Mesh, ...]:
    """Compute the surfaces of a scan's skeleton, or of its lungs and nodules.

    Parameters
    ----------
    scan : Scan
        In HU, with ``lungs`` for their surface.
    kind : {"lungs", "skeleton"}
        ``"skeleton"`` is everything in the body above the threshold: bone, contrast, metal.
    threshold_hu : float
        For the skeleton.
    cell_mm : float
        Size of the cells, and about the size of the triangles. Larger voxels are used as they are.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    tuple of Mesh
        ``skeleton``; or ``right lung``, ``left lung`` and every nodule. Closed surfaces; empty ones are left out.

    Raises
    ------
    InputError
        If there is no such kind, no lung, or nothing above the threshold.
    UnsupportedError
        If the voxels are not int16, for the skeleton.
    """
    if kind not in KINDS:
        raise InputError(f"no surface {one_line(kind, limit=40)!r}, expected {' or '.join(KINDS)}", code="option")
    if not 0 < cell_mm <= 100:
        raise InputError(f"cell_mm is {cell_mm}, expected more than 0 and at most 100 mm", code="option")
    if kind == "skeleton":
        if scan.ct.array.dtype.newbyteorder("=") != np.int16:
            what = f"a skeleton needs HU as int16, not {scan.ct.array.dtype}"
            raise UnsupportedError(what, do="give the scan in HU")
        meshes = [_above(scan.ct, threshold_hu, cell_mm, workers)]
    elif scan.lungs is None:
        raise InputError("the scan has no lung mask", do="make one first: hilum.segment_lungs", code="lungs")
    else:
        meshes = [_of_label(scan.lungs, label, name, cell_mm, workers) for label, name in _sides(scan.lungs)]
        meshes += [_of_nodule(nodule, f"nodule {k}") for k, nodule in enumerate(scan.nodules, 1)]
    if not (nonempty := tuple(mesh for mesh in meshes if len(mesh.faces))):
        what = f"nothing in the body is above {threshold_hu:g} HU" if kind == "skeleton" else "the lung mask is empty"
        what = f"{what}, so there is no surface"
        raise InputError(what, do="look at the scan, or lower the threshold", code="nothing-to-draw")
    return nonempty


def marching_cubes(volume: Volume, level: float, *, name: str = "", outside: float = 0.0) -> Mesh:
    """Compute the closed surface around the voxels above a level.

    Parameters
    ----------
    volume : Volume
        The voxels.
    level : float
        The value at the surface, in the unit of the voxels.
    name : str
        The mesh's name.
    outside : float
        The value of positions outside the volume, below the level.

    Returns
    -------
    Mesh
        Without triangles if no voxel is above the level.
    """
    from skimage.measure import marching_cubes as cubes

    if not (volume.array > level).any():
        return Mesh(name, np.empty((0, 3)), np.empty((0, 3), np.int64))
    padded = np.pad(volume.array.astype(np.float32), 1, constant_values=outside)
    untyped: Any = cubes
    index, faces, _, _ = untyped(padded, level, allow_degenerate=False)
    mesh = Mesh(name, volume.geometry.index_to_world(index - 1.0), faces.astype(np.int64))
    return mesh if mesh.volume_ml >= 0 else Mesh(name, mesh.vertices, np.ascontiguousarray(mesh.faces[:, ::-1]))


def label_surface(mask: Mask, label: int, *, name: str = "", cell_mm: float = 2.0, workers: int = 0) -> Mesh:
    """Compute the closed surface of one label of a mask; without triangles if no voxel has it.

    Parameters
    ----------
    mask : Mask
        The labels.
    label : int
        The label to outline.
    name : str
        The mesh's name.
    cell_mm : float
        As in `surfaces`.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    Mesh
    """
    return _of_label(mask, label, name, cell_mm, workers)


def _sides(lungs: Mask) -> tuple[tuple[int, str], ...]:
    """Labels and names. A mask without a left lung, from a method that does not separate the sides, is both lungs."""
    if (lungs.array == LEFT_LUNG).any():
        return (RIGHT_LUNG, "right lung"), (LEFT_LUNG, "left lung")
    return ((1, "lungs"),)


def _above(ct: Volume, threshold: float, cell_mm: float, workers: int) -> Mesh:
    oriented = reorient(ct)
    cells = cells_of(oriented.array, oriented.geometry, cell_mm, workers)
    lowest = int(np.floor(threshold)) + 1
    inside = np.where(in_body(oriented, cells.shape, cell_mm, workers), cells.array, np.int16(-1000))
    bright = bits.threshold(inside, lowest, 32767, workers=workers)
    components = labeling.find_components(bright, corners=True, workers=workers)
    small = labeling.sizes(components) * cells.geometry.voxel_volume < 1000 * COMPONENT_ML
    noise = bits.unpack(selection.select(components, small, workers=workers), workers=workers)
    clean = Volume(np.where(noise, np.int16(lowest - 1), inside), cells.geometry)
    # The level lies between two whole numbers, so that no cell lies on the surface.
    return marching_cubes(clean, lowest - 0.5, name="skeleton", outside=min(-1000.0, lowest - 1))


def in_body(ct: Volume, shape: Shape, cell_mm: float, workers: int) -> NDArray[np.bool_]:
    """Tell which cells lie in the patient, without the table; all cells if no body was found."""
    coarse, fine = voxels_per_cell(ct.spacing, CELL_MM), voxels_per_cell(ct.spacing, cell_mm)
    means = cell_means(np.ascontiguousarray(ct.array, np.int16), coarse, workers=workers)
    _, body, air = divide_chest(means, cell_size(ct.spacing, coarse))
    patient = body | air
    if not patient.any():
        return np.ones(shape, np.bool_)
    sizes = zip(shape, fine, coarse, body.shape, strict=True)
    return patient[np.ix_(*(np.minimum((np.arange(n) * f + f // 2) // c, m - 1) for n, f, c, m in sizes))]


def _of_label(mask: Mask, label: int, name: str, cell_mm: float, workers: int) -> Mesh:
    inside = mask.array == label
    if (box := bounding_box(inside)) is None:
        return Mesh(name, np.empty((0, 3)), np.empty((0, 3), np.int64))
    geometry = mask.geometry.crop([s.start for s in box], [s.stop for s in box])
    return marching_cubes(cells_of(inside[box] * np.int16(_FULL), geometry, cell_mm, workers), _FULL / 2, name=name)


def _of_nodule(nodule: Nodule, name: str) -> Mesh:
    """The surface of a nodule's outlines or sphere, on its own grid, which is fine enough for its size."""
    radius = nodule.diameter_mm / 2
    points = [points for reading in nodule.readings for points in reading.contours]
    if points:
        radius = max(radius, float(np.linalg.norm(np.concatenate(points) - nodule.center, axis=-1).max()))
        radius += max(reading.grid.spacing[0] for reading in nodule.readings)
    step = nodule.diameter_mm / _CELLS_PER_DIAMETER
    count = min(160, 2 * int(np.ceil(radius / step)) + 5)
    step = max(step, 2 * radius / (count - 4))
    x, y, z = (c - (count - 1) / 2 * step for c in nodule.center)
    grid = Geometry((count, count, count), (step, step, step), (x, y, z), IDENTITY_DIRECTION)
    return marching_cubes(cover_nodules(grid, [nodule], samples=2), 0.5, name=name)


def cells_of(array: NDArray[np.int16], geometry: Geometry, cell_mm: float, workers: int) -> Volume:
    """Means over cells; the last cell of an axis may have fewer voxels than the others."""
    factors = voxels_per_cell(geometry.spacing, cell_mm)
    means = cell_means(np.ascontiguousarray(array, np.int16), factors, workers=workers)
    x, y, z = geometry.index_to_world([(f - 1) / 2 for f in factors]).tolist()
    return Volume(means, Geometry(means.shape, cell_size(geometry.spacing, factors), (x, y, z), geometry.direction))
