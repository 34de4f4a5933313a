"""Draw nodules, whose positions are in world millimetres, on a grid. Only this module rasterizes them."""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from hilum.errors import AnnotationError, InputError, check_number
from hilum.geometry import Geometry
from hilum.ops.arguments import expect, geometry_of, refuse_type
from hilum.ops.nodules.interpolation import SignedDistances, signed_distances
from hilum.ops.nodules.outlines import ContourPixel, check_contour_pixel, check_level, consensus_mask
from hilum.scan import Nodule, Scan
from hilum.volume import Mask, Volume

_SLAB_VOXELS = 2**20
_NO_SHIFT = (0.0, 0.0, 0.0)


class _NoduleShape(NamedTuple):
    """A ball or outlines, in voxels of a grid, with the box of voxels that can belong to it.

    ``affine`` is that of the grid. |affine . d|^2 = d . gram . d is the squared distance in mm of an index offset d.
    """

    affine: NDArray[np.float64]
    gram: NDArray[np.float64]
    center: NDArray[np.float64]
    radius: float
    outlined: SignedDistances | None
    first: NDArray[np.int64]
    stop: NDArray[np.int64]

    def contains(self, low: Sequence[int], high: Sequence[int], shift: Sequence[float]) -> NDArray[np.bool_]:
        """Tell which voxels of a box have the position at `shift` voxels from their center inside the nodule."""
        if self.outlined is None:
            return self.squared_distance(low, high, shift) <= self.radius * self.radius
        z, y, x = (axis + s for axis, s in zip(_axes(low, high), shift, strict=True))
        to_outlined = self.outlined.geometry.inverse_affine @ self.affine
        size = [b - a for a, b in zip(low, high, strict=True)]
        index = [np.broadcast_to(row[0] * z + row[1] * y + row[2] * x + row[3], size) for row in to_outlined[:3]]
        return self.outlined.contains(index)

    def squared_distance(self, low: Sequence[int], high: Sequence[int], shift: Sequence[float]) -> NDArray[np.float64]:
        """Squared distance, mm2, of the same positions from the nodule's center."""
        gram = self.gram
        z, y, x = (axis - c for axis, c in zip(_axes(low, high), self.center - shift, strict=True))
        along = gram[0, 0] * z * z + gram[1, 1] * y * y + 2 * gram[0, 1] * z * y
        squared: NDArray[np.float64] = along + gram[2, 2] * x * x
        if gram[0, 2] or gram[1, 2]:
            squared += 2 * (gram[0, 2] * z + gram[1, 2] * y) * x
        return squared


@overload
def mask_nodules(
    geometry: Scan, nodules: Sequence[Nodule] | None = ..., *, level: float = ..., contour_pixel: ContourPixel = ...
) -> Mask: ...


@overload
def mask_nodules(
    geometry: Geometry | Volume, nodules: Sequence[Nodule], *, level: float = ..., contour_pixel: ContourPixel = ...
) -> Mask: ...


def mask_nodules(
    geometry: Geometry | Volume | Scan,
    nodules: Sequence[Nodule] | None = None,
    *,
    level: float = 0.5,
    contour_pixel: ContourPixel = "exclude",
) -> Mask:
    """Label each nodule on any grid, oblique and left-handed grids too: its readers' outlines, or a sphere.

    A voxel belongs to a nodule if the voxel's center lies inside the consensus of the readers. The consensus is
    carried from the readers' slices to the grid by shape-based interpolation (`hilum.ops.nodules.interpolation`); on
    the readers' own grid nothing changes. A nodule without outlines is a sphere. Where nodules overlap, the voxel
    belongs to the nodule with the nearest center; at equal distances the first nodule wins. A nodule that contains no
    voxel center is marked at the voxel nearest to its center, under the same rule. Parts outside the grid are not
    marked; see `nodules_outside`.

    For the mask of one reader, leave out the others: ``dataclasses.replace(nodule, readings=nodule.readings[:1])``.
    For the sphere, leave out all: ``readings=()``.

    Parameters
    ----------
    geometry : Scan, Volume or Geometry
        The grid of the mask, or what lies on it.
    nodules : sequence of Nodule, optional
        At most 255; by default those of the scan.
    level : float, default 0.5
        The fraction of a nodule's readers who must have outlined a position: above 0, at most 1.
    contour_pixel : {"exclude", "include"}, default "exclude"
        Whether the pixels on an outline belong to the nodule. The readers of LIDC drew just outside the nodule.

    Returns
    -------
    Mask
        Labels 1, 2, ... in the order of `nodules`, 0 elsewhere.

    Raises
    ------
    AnnotationError
        If there are more nodules than labels, outlines that do not fit their grid, or a scan that was not searched for
        nodules.
    InputError
        If `level` or `contour_pixel` is out of range.
    InputTypeError
        If an argument has another type.

    Examples
    --------
    >>> import hilum
    >>> from hilum.phantom.chest import make_phantom
    >>> scan = make_phantom(seed=1, shape=(40, 64, 64), spacing=(8.0, 6.0, 6.0)).scan
    >>> hilum.mask_nodules(scan).shape
    (40, 64, 64)
    >>> bool((hilum.mask_nodules(scan.ct.geometry, scan.nodules[:1]).array <= 1).all())
    True
    """
    geometry, nodules = _drawn_on(geometry, nodules)
    if len(nodules) > 255:
        what = f"{len(nodules)} nodules, but a mask has at most 255 labels"
        raise AnnotationError(what, do="pass the nodules of one scan")
    shapes = _shapes(geometry, nodules, level, contour_pixel)
    labels = np.zeros(geometry.shape, np.uint8)
    for k, shape in enumerate(shapes):
        marked = bool((shape.first < shape.stop).all()) and _mark(labels, shapes, k)
        if not marked and geometry.contains(nodules[k].center):
            near = np.clip(np.rint(shape.center), 0, np.array(geometry.shape) - 1).astype(int)
            voxel = shape._replace(radius=np.inf, outlined=None, first=near, stop=near + 1)
            _mark(labels, [*shapes[:k], voxel], k)
    return Mask(labels, geometry)


@overload
def cover_nodules(
    geometry: Scan,
    nodules: Sequence[Nodule] | None = ...,
    *,
    samples: int = ...,
    level: float = ...,
    contour_pixel: ContourPixel = ...,
) -> Volume: ...


@overload
def cover_nodules(
    geometry: Geometry | Volume,
    nodules: Sequence[Nodule],
    *,
    samples: int = ...,
    level: float = ...,
    contour_pixel: ContourPixel = ...,
) -> Volume: ...


def cover_nodules(
    geometry: Geometry | Volume | Scan,
    nodules: Sequence[Nodule] | None = None,
    *,
    samples: int = 4,
    level: float = 0.5,
    contour_pixel: ContourPixel = "exclude",
) -> Volume:
    """Compute the fraction of each voxel that nodules fill.

    Parameters
    ----------
    geometry : Scan, Volume or Geometry
        The grid of the result, or what lies on it.
    nodules : sequence of Nodule, optional
        By default those of the scan.
    samples : int, default 4
        Number of evenly spaced sample positions in a voxel along each axis; 1 to 16.
    level : float, default 0.5
        The fraction of a nodule's readers who must have outlined a position: above 0, at most 1.
    contour_pixel : {"exclude", "include"}, default "exclude"
        Whether the pixels on an outline belong to the nodule.

    Returns
    -------
    Volume
        float32 from 0 to 1: the fraction of a voxel's sample positions that lie inside any nodule. A position inside
        several nodules counts once.

    Raises
    ------
    AnnotationError
        If outlines do not fit their grid, or a scan was not searched for nodules.
    InputError
        If an option is out of range.
    InputTypeError
        If an argument has another type.

    Examples
    --------
    >>> import hilum
    >>> grid = hilum.Geometry((20, 20, 20), (1.0, 1.0, 1.0))
    >>> share = hilum.cover_nodules(grid, [hilum.Nodule((9.5, 9.5, 9.5), diameter_mm=8.0)])
    >>> round(float(share.array.sum())), share.array.dtype
    (270, dtype('float32'))
    """
    geometry, nodules = _drawn_on(geometry, nodules)
    check_number("samples", samples)
    if not 1 <= samples <= 16 or samples != int(samples):
        raise InputError(f"samples is {samples}, expected 1 to 16", code="option")
    shapes = _shapes(geometry, nodules, level, contour_pixel)
    coverage = np.zeros(geometry.shape, np.float32)
    offsets = [(k + 0.5) / samples - 0.5 for k in range(int(samples))]
    for k, shape in enumerate(shapes):
        # A nodule can cover the edge of a voxel whose center lies just outside the box.
        first, stop = np.maximum(shape.first - 1, 0), np.minimum(shape.stop + 1, geometry.shape)
        if not (first < stop).all():
            continue
        earlier = [s for s in shapes[:k] if (np.maximum(s.first - 1, first) < np.minimum(s.stop + 1, stop)).all()]
        for low, high in _slabs(first, stop):
            part = coverage[tuple(map(slice, low, high))]
            for shift in product(offsets, repeat=3):
                inside = shape.contains(low, high, shift)
                for other in earlier:
                    inside &= ~other.contains(low, high, shift)
                part += inside
    coverage /= samples**3
    return Volume(coverage, geometry)


def nodules_outside(geometry: Geometry, nodules: Sequence[Nodule]) -> tuple[int, ...]:
    """Find the nodules whose center lies outside a grid; part of such a nodule may still be marked.

    Parameters
    ----------
    geometry : Geometry
        The grid.
    nodules : sequence of Nodule
        The nodules to look for.

    Returns
    -------
    tuple of int
        Positions in `nodules`.
    """
    return tuple(k for k, nodule in enumerate(nodules) if not geometry.contains(nodule.center))


def _drawn_on(
    geometry: Geometry | Volume | Scan, nodules: Sequence[Nodule] | None
) -> tuple[Geometry, Sequence[Nodule]]:
    """The grid and the nodules that a caller means."""
    grid = geometry_of(geometry)
    if nodules is None:
        if not isinstance(geometry, Scan):
            refuse_type(None, "sequence of nodules", do="pass a scan, or its nodules: scan.nodules")
        if not (geometry.annotated or geometry.nodules):
            do = "hilum.read(path, annotations=...) reads those of a table"
            raise AnnotationError("the scan was not searched for nodules", do=do)
        nodules = geometry.nodules
    do = "pass those of a scan, scan.nodules, or a list of hilum.Nodule"
    if not isinstance(nodules, Sequence):
        refuse_type(nodules, "sequence of nodules", do=do)
    for one in nodules:
        expect(one, Nodule, "nodule", do=do)
    return grid, nodules


def _shapes(
    geometry: Geometry, nodules: Sequence[Nodule], level: float, contour_pixel: ContourPixel
) -> list[_NoduleShape]:
    check_level(level)
    check_contour_pixel(contour_pixel)
    centers = geometry.world_to_index([n.center for n in nodules]) if nodules else np.empty((0, 3))
    gram = geometry.affine[:3, :3].T @ geometry.affine[:3, :3]
    # A step of r mm changes an index by at most r times the norm of its row of the inverse affine.
    voxels_per_mm = np.linalg.norm(geometry.inverse_affine[:3, :3], axis=1)
    shapes = []
    for nodule, center in zip(nodules, centers, strict=True):
        radius, outlined = nodule.diameter_mm / 2, None
        low, high = center - voxels_per_mm * radius, center + voxels_per_mm * radius
        if nodule.readings:
            consensus = consensus_mask(nodule, level=level, contour_pixel=contour_pixel)
            outlined = signed_distances(consensus)
            corners = list(product(*((-0.5, n - 0.5) for n in consensus.shape)))
            index = geometry.world_to_index(consensus.geometry.index_to_world(corners))
            low, high = index.min(axis=0), index.max(axis=0)
        first = np.clip(np.ceil(low - 1e-9), 0, geometry.shape).astype(int)
        stop = np.clip(np.floor(high + 1e-9) + 1, 0, geometry.shape).astype(int)
        shapes.append(_NoduleShape(geometry.affine, gram, center, radius, outlined, first, stop))
    return shapes


def _mark(labels: NDArray[np.uint8], shapes: Sequence[_NoduleShape], k: int) -> bool:
    """Write label k + 1 inside the shape where no earlier center is as near; return whether any voxel lies inside."""
    any_inside = False
    shape = shapes[k]
    for low, high in _slabs(shape.first, shape.stop):
        box = labels[tuple(map(slice, low, high))]
        inside = shape.contains(low, high, _NO_SHIFT)
        if not inside.any():
            continue
        any_inside = True
        labeled = box[inside]
        if labeled.any():
            squared = shape.squared_distance(low, high, _NO_SHIFT)
            for other in np.unique(labeled[labeled > 0]):
                nearer = squared < shapes[other - 1].squared_distance(low, high, _NO_SHIFT)
                inside &= (box != other) | nearer
        box[inside] = k + 1
    return any_inside


def _slabs(first: NDArray[np.int64], stop: NDArray[np.int64]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Divide a box into slabs of a limited number of voxels: the first voxel, and one past the last, of each slab."""
    plane = max(1, int(np.prod(stop[1:] - first[1:])))
    step = max(1, _SLAB_VOXELS // plane)
    top = int(stop[0])
    rest = tuple(map(int, first[1:])), tuple(map(int, stop[1:]))
    return [((z, *rest[0]), (min(z + step, top), *rest[1])) for z in range(int(first[0]), top, step)]


def _axes(low: Sequence[int], high: Sequence[int]) -> tuple[NDArray[np.int64], ...]:
    return tuple(np.ogrid[low[0] : high[0], low[1] : high[1], low[2] : high[2]])
