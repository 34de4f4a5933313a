"""A phantom chest: a synthetic CT scan of which everything is known.

It is a function of the position in the patient, drawn from a seed: the same seed on another grid is a second scan of
the same patient. It has the difficulties of real chests: lungs that touch in front, airways that connect them at any
threshold, bowel gas, nodules at the chest wall and on vessels, a table with air above it, and a round field of view.
"""

from dataclasses import dataclass

import numpy as np

from hilum._kernels.threads import run_slabs
from hilum.errors import InputError
from hilum.geometry import IDENTITY_DIRECTION, Geometry, Vector
from hilum.phantom import dicom_dialects, tissue
from hilum.phantom.anatomy import FIELD_OF_VIEW_MM, PATIENT_CENTER, outside_field
from hilum.phantom.lungs import Slab
from hilum.phantom.options import PhantomOptions
from hilum.phantom.patient import NODULE_HU, Anatomy, NoduleKind, draw_patient, random_stream
from hilum.phantom.shapes import Floats, Sampler
from hilum.scan import SIDE_NAMES, Nodule, Scan
from hilum.volume import Mask, Volume

EXTENT_MM = (300.0, FIELD_OF_VIEW_MM, FIELD_OF_VIEW_MM)  # of a grid along z, y, x, unless shape and spacing are given

_SLAB_VOXELS = 800_000

Direction = tuple[Vector, Vector, Vector]


@dataclass(frozen=True, eq=False)
class PhantomNodule:
    """One nodule of a phantom: its center and diameter in the world, its kind, and the HU in its middle."""

    nodule: Nodule
    kind: NoduleKind
    hu: float


@dataclass(frozen=True, eq=False)
class Phantom:
    """A phantom's scan, and the truth about it, on the scan's grid.

    Parameters
    ----------
    seed : int
        The number that it was drawn from.
    options : PhantomOptions
        What it was asked to have.
    scan : Scan
        int16 HU, with the nodules and `lungs`.
    lungs : Mask
        1 right, 2 left. With vessels, lobar bronchi, consolidation, and nodules up to the chest wall; without trachea,
        main bronchi and pleural fluid.
    airways : Mask
        1 in trachea and main bronchi and their walls.
    bowel : Mask
        1 in gas of stomach and bowel.
    nodules : tuple of PhantomNodule
        In the order of the options.
    """

    seed: int
    options: PhantomOptions
    scan: Scan
    lungs: Mask
    airways: Mask
    bowel: Mask
    nodules: tuple[PhantomNodule, ...] = ()


def make_phantom(
    *,
    seed: int = 0,
    shape: tuple[int, int, int] | None = None,
    spacing: tuple[float, float, float] | None = None,
    direction: Direction = IDENTITY_DIRECTION,
    geometry: Geometry | None = None,
    options: PhantomOptions | None = None,
    workers: int = 0,
) -> Phantom:
    """Make a phantom chest.

    Parameters
    ----------
    seed : int, default 0
        The patient, at least 0. The same seed, grid and options give the same bytes on any number of threads.
    shape : tuple of int, (z, y, x), optional
        Number of voxels; by default as many as cover 300 x 384 x 384 mm.
    spacing : tuple of float, (z, y, x), mm, optional
        Distance of voxel centers; by default so that the shape covers 300 x 384 x 384 mm, or 2.5 x 1.5 x 1.5 without a
        shape. The grid's center is always the middle of the chest.
    direction : three unit vectors, LPS
        World direction of each array axis. Flipped, permuted and oblique grids show the same patient.
    geometry : Geometry, optional
        The grid of the scan, instead of shape, spacing and direction.
    options : PhantomOptions, optional
        Nodules, diseases, noise.
    workers : int, default 0
        Threads; 0 for one per available core.

    Returns
    -------
    Phantom

    Raises
    ------
    InputError
        If the seed is negative, the grid is given twice, or the lungs have no space for the nodules.
    GeometryError
        If the grid is invalid.

    Examples
    --------
    >>> from hilum.phantom import make_phantom
    >>> chest = make_phantom(seed=1, shape=(20, 48, 48))
    >>> chest.scan.ct.spacing
    (15.0, 8.0, 8.0)
    >>> [nodule.kind for nodule in chest.nodules]
    ['inside', 'wall', 'vessel', 'ground-glass', 'inside']
    """
    options = PhantomOptions() if options is None else options
    if seed < 0:
        raise InputError(f"seed is {seed}, expected at least 0", code="bad-option")
    if geometry is None:
        geometry = _grid(shape, spacing, direction)
    elif shape is not None or spacing is not None or direction != IDENTITY_DIRECTION:
        what = "both a geometry and a shape, spacing or direction are given"
        raise InputError(what, do="give one", code="bad-option")
    anatomy = draw_patient(seed, options.nodules, options.disease)
    sampler = Sampler(geometry, PATIENT_CENTER, anatomy.build.scale)
    hu = np.empty(geometry.shape, np.int16)
    lungs, airways, bowel = (np.empty(geometry.shape, np.uint8) for _ in range(3))

    def work(start: int, stop: int) -> None:
        slab = _scan_slab(sampler, anatomy, options, seed, (start, stop))
        hu[start:stop] = np.clip(np.rint(slab.hu), -1024, 3071)  # 12 bits
        if options.field_of_view:
            hu[start:stop][outside_field(geometry, slab.box)] = options.padding_hu
        for volume, part in ((lungs, slab.lungs), (airways, slab.airways), (bowel, slab.bowel)):
            volume[start:stop] = part

    slabs = max(1, round(hu.size / _SLAB_VOXELS), min(4, geometry.shape[0]))
    run_slabs(work, geometry.shape[0], workers=workers, slabs=slabs)
    nodules = _world_nodules(anatomy)
    truth = Mask(lungs, geometry, SIDE_NAMES)
    scan = Scan(series_uid(seed), Volume(hu, geometry), tuple(n.nodule for n in nodules), annotated=True, lungs=truth)
    return Phantom(seed, options, scan, truth, Mask(airways, geometry), Mask(bowel, geometry), nodules)


def series_uid(seed: int) -> str:
    """Give the DICOM Series Instance UID of a phantom."""
    return dicom_dialects.derived_uid(f"hilum phantom {seed}")


def _grid(shape: tuple[int, int, int] | None, spacing: Vector | None, direction: Direction) -> Geometry:
    """Make a grid around the patient's center that covers `EXTENT_MM` unless both shape and spacing are given."""
    Geometry(shape or (1, 1, 1), spacing or (1.0, 1.0, 1.0), direction=direction)  # refuses an invalid grid
    extent = np.abs(np.array(direction)) @ EXTENT_MM[::-1]
    if spacing is None and shape is None:
        steps = np.abs(np.array(direction)) @ (1.5, 1.5, 2.5)
    else:
        steps = np.array(spacing) if spacing is not None else extent / np.array(shape)
    counts = np.array(shape) if shape is not None else np.maximum(np.rint(extent / steps), 1)
    around = Geometry(counts, steps, direction=direction)  # type: ignore[arg-type]  # three of each
    origin = np.array(PATIENT_CENTER) - around.center
    return Geometry(counts, steps, origin, direction)  # type: ignore[arg-type]  # three of each


def _world_nodules(anatomy: Anatomy) -> tuple[PhantomNodule, ...]:
    scale, nodules = anatomy.build.scale, []
    for one in anatomy.nodules:
        x, y, z = (scale * c + o for c, o in zip(one.center, PATIENT_CENTER, strict=True))
        nodules.append(PhantomNodule(Nodule((x, y, z), 2 * scale * one.radius), one.kind, NODULE_HU[one.kind]))
    return tuple(nodules)


def _scan_slab(sampler: Sampler, anatomy: Anatomy, options: PhantomOptions, seed: int, span: tuple[int, int]) -> Slab:
    """Compute slices, with the scanner's noise and kernel. Each slice has its own random numbers."""
    _, ny, nx = sampler.geometry.shape
    box = (slice(*span), slice(0, ny), slice(0, nx))
    slab = tissue.render_slab(sampler, anatomy, options.disease, box, table=options.table)
    if options.kernel == "sharp":
        slab.hu[:] += np.float32(1.2) * (slab.hu - _blur(slab.hu))
    if options.noise_hu:
        for k in range(*span):
            noise = random_stream(seed, f"noise {k}").standard_normal((1, ny, nx), dtype=np.float32)
            if options.kernel == "soft":
                noise = _blur(noise) * np.float32(8 / 3)  # the blur reduces the noise to 3/8
            elif options.kernel == "sharp":
                noise = np.float32(1.5) * noise - _blur(noise)
            slab.hu[k - span[0]] += noise[0] * np.float32(options.noise_hu)
    return slab


def _blur(planes: Floats) -> Floats:
    """Blur each slice with weights 1-2-1 along y and x; edges are repeated."""
    for axis in (1, 2):
        wide = np.pad(planes, [(1, 1) if k == axis else (0, 0) for k in range(3)], mode="edge")
        low, high = (wide.take(range(s, s + planes.shape[axis]), axis=axis) for s in (0, 2))
        planes = np.float32(0.25) * (low + high) + np.float32(0.5) * planes
    return planes
