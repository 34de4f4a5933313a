"""A phantom chest: a CT scan that nobody's body was needed for, with the truth about what is in it.

Every part of it is a function of the position in the patient, drawn from a seed: the same seed on another grid is
the same patient scanned anew. It has what makes real chests hard: lungs that touch in front, airways that join them
at any threshold, gas in the bowel, nodules on the wall and on vessels, a table with air over it, and a round field
of view.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from hilum._kernels.threads import run_slabs
from hilum.errors import InputError
from hilum.geometry import IDENTITY_DIRECTION, Geometry, Vector
from hilum.phantom.anatomy import FIELD_OF_VIEW_MM, PATIENT_CENTER, outside_field
from hilum.phantom.disease import Disease, Missing
from hilum.phantom.growth import NODULE_HU, Anatomy, NoduleKind, check_kinds, grow, stream
from hilum.phantom.shapes import Sampler
from hilum.phantom.tissue import paint_slab
from hilum.scan import Nodule, Scan
from hilum.volume import Mask, Volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum.phantom.lungs import Slab
    from hilum.phantom.shapes import Floats

COVERED_MM = (300.0, FIELD_OF_VIEW_MM, FIELD_OF_VIEW_MM)
"""What a grid covers along the patient's z, y and x where nothing else is asked for."""

DEFAULT_SPACING = (2.5, 1.5, 1.5)

Kernel = Literal["standard", "soft", "sharp"]
_SLAB_VOXELS = 800_000

__all__ = [
    "Phantom",
    "PhantomNodule",
    "PhantomOptions",
    "make_phantom",
    "outside_field",
    "series_uid",
]


@dataclass(frozen=True)
class PhantomOptions:
    """What a phantom has and how it is scanned.

    Parameters
    ----------
    nodules : tuple of {"inside", "wall", "vessel", "ground-glass"}
        One for each nodule; may be empty.
    table : bool
        Whether the patient lies on a table.
    field_of_view : bool
        Whether voxels outside a circle of 384 mm are padding, as after a scanner's reconstruction.
    padding_hu : int
        The value of that padding, HU.
    consolidation, effusion, emphysema : bool
        A dense wedge in the right lower lobe; fluid behind the left lung (no lung any more in the truth); patches
        of lost lung in the upper halves.
    noise_hu : float
        Standard deviation of the noise, HU.
    haze, mass : bool
        Patches of hazy and of solid lung in its lower parts; a large mass at the right hilum.
    missing : {"none", "right", "left"}
        A lung that fluid has taken the place of (no lung in the truth).
    prone : bool
        Whether the patient lies on the front: table, fluid, and gas in the stomach change sides.
    kernel : {"standard", "soft", "sharp"}
        White noise; noise that neighbors in a slice share; noise and edges amplified as a bone kernel does.

    Raises
    ------
    InputError
        If a value is out of range or a name is unknown.
    """

    nodules: tuple[NoduleKind, ...] = ("inside", "wall", "vessel", "ground-glass", "inside")
    table: bool = True
    field_of_view: bool = True
    padding_hu: int = -1024
    consolidation: bool = False
    effusion: bool = False
    emphysema: bool = False
    noise_hu: float = 20.0
    kernel: Kernel = "standard"
    haze: bool = False
    mass: bool = False
    missing: Missing = "none"
    prone: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodules", tuple(self.nodules))
        check_kinds(self.nodules)
        if not (np.isfinite(self.noise_hu) and 0 <= self.noise_hu <= 1000):
            raise InputError(f"noise_hu is {self.noise_hu}, expected 0 to 1000 HU", code="bad-option")
        if not -32768 <= self.padding_hu <= 32767:
            raise InputError(f"padding_hu is {self.padding_hu}, expected an int16", code="bad-option")
        if self.kernel not in get_args(Kernel):
            raise InputError(f"kernel {self.kernel!r} is none of {', '.join(get_args(Kernel))}", code="bad-option")
        if self.missing not in get_args(Missing):
            raise InputError(f"missing {self.missing!r} is none of {', '.join(get_args(Missing))}", code="bad-option")

    @property
    def disease(self) -> Disease:
        """What is painted of it in the patient."""
        return Disease(
            consolidation=self.consolidation,
            effusion=self.effusion,
            emphysema=self.emphysema,
            haze=self.haze,
            mass=self.mass,
            missing=self.missing,
            prone=self.prone,
        )


@dataclass(frozen=True, eq=False)
class PhantomNodule:
    """One nodule of a phantom and what it is made of.

    Parameters
    ----------
    nodule : Nodule
        Its center and diameter in the world.
    kind : {"inside", "wall", "vessel", "ground-glass"}
    hu : float
        Attenuation in its middle.
    """

    nodule: Nodule
    kind: NoduleKind
    hu: float


@dataclass(frozen=True, eq=False)
class Phantom:
    """A phantom's scan, and the truth about it on the scan's grid.

    Parameters
    ----------
    seed : int
    options : PhantomOptions
    scan : Scan
        int16 HU, the nodules, and `lungs` once more.
    lungs : Mask
        1 right, 2 left: with vessels, nodules (the part on the lung's side of the chest wall), consolidation and
        lobar bronchi; without trachea, main bronchi and pleural fluid.
    airways : Mask
        1 where trachea and main bronchi are, walls included.
    bowel : Mask
        1 where gas is in stomach and bowel.
    nodules : tuple of PhantomNodule
        In the order of the options.
    """

    seed: int
    options: PhantomOptions
    scan: Scan
    lungs: Mask
    airways: Mask
    bowel: Mask
    nodules: tuple[PhantomNodule, ...] = field(default=())


def make_phantom(
    *,
    seed: int = 0,
    shape: tuple[int, int, int] | None = None,
    spacing: tuple[float, float, float] | None = None,
    direction: tuple[Vector, Vector, Vector] = IDENTITY_DIRECTION,
    geometry: Geometry | None = None,
    options: PhantomOptions | None = None,
    workers: int = 0,
) -> Phantom:
    """Make a phantom chest.

    Parameters
    ----------
    seed : int
        Which patient, at least 0; the same bytes for the same seed, grid and options on any number of threads.
    shape : tuple of int, (z, y, x), optional
        Number of voxels; what covers 300 x 384 x 384 mm without it.
    spacing : tuple of float, (z, y, x), mm, optional
        Distance of voxel centers; what covers 300 x 384 x 384 mm where only the shape is given, 2.5 x 1.5 x 1.5
        without either. With both given, the grid's center is the middle of the chest, whatever it covers.
    direction : three unit vectors, LPS
        World direction of each array axis: flipped, permuted or oblique grids show the same patient.
    geometry : Geometry, optional
        The very grid to scan on, anywhere in the world; then no shape, spacing or direction.
    options : PhantomOptions, optional
        Nodules, diseases, noise.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    Phantom

    Raises
    ------
    InputError
        If the seed is negative, the grid is given twice, or there is no room for the nodules.
    GeometryError
        If the grid is none.

    Examples
    --------
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
        raise InputError("a geometry and a shape, spacing or direction are given", do="give one", code="bad-option")
    anatomy = grow(seed, options.nodules, options.disease)
    sampler = Sampler(geometry, PATIENT_CENTER, anatomy.build.scale)
    hu = np.empty(geometry.shape, np.int16)
    lungs, airways, bowel = (np.empty(geometry.shape, np.uint8) for _ in range(3))

    def work(start: int, stop: int) -> None:
        slab = _scan_slab(sampler, anatomy, options, seed, (start, stop))
        hu[start:stop] = _to_int16(sampler, options, slab)
        for whole, part in ((lungs, slab.lungs), (airways, slab.airways), (bowel, slab.bowel)):
            whole[start:stop] = part

    slabs = max(1, round(hu.size / _SLAB_VOXELS), min(4, geometry.shape[0]))
    run_slabs(work, geometry.shape[0], workers=workers, slabs=slabs)
    nodules = _world_nodules(anatomy)
    truth = Mask(lungs, geometry)
    known = tuple(n.nodule for n in nodules)
    scan = Scan(series_uid(seed), Volume(hu, geometry), known, annotated=True, lungs=truth)
    return Phantom(seed, options, scan, truth, Mask(airways, geometry), Mask(bowel, geometry), nodules)


def series_uid(seed: int) -> str:
    """The DICOM Series Instance UID of a phantom: ``2.25.`` and a UUID, as anybody may make (PS3.5 section B.2)."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'hilum phantom {seed}').int}"


def _grid(
    shape: tuple[int, int, int] | None,
    spacing: tuple[float, float, float] | None,
    direction: tuple[Vector, Vector, Vector],
) -> Geometry:
    """A grid around the patient's center that covers the usual field of view unless both sizes are given."""
    Geometry(shape or (1, 1, 1), spacing or (1.0, 1.0, 1.0), direction=direction)  # refuses what is no grid
    extent = np.abs(np.array(direction)) @ COVERED_MM[::-1]
    if spacing is None and shape is None:
        steps = np.abs(np.array(direction)) @ DEFAULT_SPACING[::-1]
    else:
        steps = np.array(spacing) if spacing is not None else extent / np.array(shape)
    counts = np.array(shape) if shape is not None else np.maximum(np.rint(extent / steps), 1)
    count = (int(counts[0]), int(counts[1]), int(counts[2]))
    step = (float(steps[0]), float(steps[1]), float(steps[2]))
    around = Geometry(count, step, direction=direction)
    origin = np.array(PATIENT_CENTER) - around.center
    return Geometry(count, step, (float(origin[0]), float(origin[1]), float(origin[2])), direction)


def _world_nodules(anatomy: Anatomy) -> tuple[PhantomNodule, ...]:
    scale, found = anatomy.build.scale, []
    for lesion in anatomy.lesions:
        x, y, z = (scale * c + o for c, o in zip(lesion.center, PATIENT_CENTER, strict=True))
        nodule = Nodule((x, y, z), 2 * scale * lesion.radius)
        found.append(PhantomNodule(nodule, lesion.kind, NODULE_HU[lesion.kind]))
    return tuple(found)


def _scan_slab(sampler: Sampler, anatomy: Anatomy, options: PhantomOptions, seed: int, span: tuple[int, int]) -> Slab:
    """Paint slices and put the scanner's noise and kernel on them, slice by slice with a stream of its own."""
    _, ny, nx = sampler.geometry.shape
    box = (slice(*span), slice(0, ny), slice(0, nx))
    slab = paint_slab(sampler, anatomy, options.disease, box, table=options.table)
    if options.kernel == "sharp":
        slab.hu[:] += np.float32(1.2) * (slab.hu - _blur(slab.hu))
    if options.noise_hu:
        for k in range(*span):
            noise = stream(seed, f"noise {k}").standard_normal((1, ny, nx), dtype=np.float32)
            if options.kernel == "soft":
                noise = _blur(noise) * np.float32(8 / 3)  # a binomial blur leaves 3/8 of white noise's deviation
            elif options.kernel == "sharp":
                noise = np.float32(1.5) * noise - _blur(noise)
            slab.hu[k - span[0]] += noise[0] * np.float32(options.noise_hu)
    return slab


def _blur(planes: Floats) -> Floats:
    """Average each slice with weights 1-2-1 along y and x; the edge is repeated."""
    for axis in (1, 2):
        wide = np.pad(planes, [(1, 1) if k == axis else (0, 0) for k in range(3)], mode="edge")
        n = planes.shape[axis]
        low, high = (wide.take(range(s, s + n), axis=axis) for s in (0, 2))
        planes = np.float32(0.25) * (low + high) + np.float32(0.5) * planes
    return planes


def _to_int16(sampler: Sampler, options: PhantomOptions, slab: Slab) -> NDArray[np.int16]:
    """Round to whole HU within 12 bits, and pad outside the circle."""
    hu: NDArray[np.int16] = np.clip(np.rint(slab.hu), -1024, 3071).astype(np.int16)
    if options.field_of_view:
        hu[outside_field(sampler.geometry, slab.box)] = options.padding_hu
    return hu
