"""The random anatomy of a patient: body measures, vessel trees, airways, nodules, patches of disease.

It depends only on the seed and is in the patient's frame, without a grid: two grids show the same patient.
"""

import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hilum.errors import InputError
from hilum.geometry import Vector
from hilum.phantom.anatomy import BodyBuild, draw_body_build, lung_depths, mediastinum, thorax
from hilum.phantom.disease import Disease, disease_distance
from hilum.phantom.shapes import Points, Tubes
from hilum.scan import LEFT_LUNG, RIGHT_LUNG

Array = NDArray[np.float64]
Generator = np.random.Generator
NoduleKind = Literal["inside", "wall", "vessel", "ground-glass"]  # where it is; all but ground-glass are solid

NODULE_HU = {"inside": 60.0, "wall": 60.0, "vessel": 60.0, "ground-glass": -600.0}

SOLID_HU = 35.0
_TIP_MM = 0.65  # radius of the last branches
_MURRAY_EXPONENT = 2.3  # r^2.3 of a vessel is the sum of r^2.3 of its branches
_BRANCH_POINTS = 420  # of one tree; each lung has an arterial and a venous tree
_ROOTS: dict[int, tuple[Vector, Vector]] = {
    RIGHT_LUNG: ((-20.0, 6.0, 2.0), (-20.0, 20.0, -22.0)),
    LEFT_LUNG: ((24.0, 10.0, 6.0), (24.0, 22.0, -20.0)),
}

# Trachea, main and lobar bronchi: start, stop, radius of the lumen at both ends.
_CARINA: Vector = (1.0, 20.0, 22.0)
_MAIN = (
    ((0.0, 2.0, 170.0), (0.0, 12.0, 70.0), 8.5, 8.5),
    ((0.0, 12.0, 70.0), _CARINA, 8.5, 8.0),
    (_CARINA, (-38.0, 20.0, -2.0), 6.8, 6.0),
    (_CARINA, (42.0, 26.0, -6.0), 6.0, 5.4),
)
_LOBAR = (
    ((-36.0, 20.0, 0.0), (-72.0, 8.0, 44.0), 4.2, 1.4),
    ((-38.0, 20.0, -2.0), (-72.0, -28.0, -22.0), 3.6, 1.2),
    ((-38.0, 20.0, -2.0), (-66.0, 46.0, -62.0), 4.6, 1.4),
    ((40.0, 26.0, -5.0), (74.0, 2.0, 42.0), 4.0, 1.4),
    ((42.0, 26.0, -6.0), (90.0, -10.0, -14.0), 3.2, 1.2),
    ((42.0, 26.0, -6.0), (72.0, 48.0, -62.0), 4.4, 1.4),
)


@dataclass(frozen=True)
class PatientNodule:
    """A nodule in the patient's frame, mm, before the patient is scaled."""

    kind: NoduleKind
    center: Vector
    radius: float


@dataclass(frozen=True, eq=False)
class Anatomy:
    """The anatomy of one patient.

    The main airways are trachea and main bronchi, which do not count as lung; the lobar bronchi open into the lungs.
    Patches of emphysema have centers (x, y, z) and radii, shape (n, 4); opacities, patches of ground-glass and
    consolidation, also have HU, shape (n, 5).
    """

    build: BodyBuild
    vessels: Tubes
    main_airways: Tubes
    lobar_airways: Tubes
    nodules: tuple[PatientNodule, ...]
    emphysema: Array
    opacities: Array


def random_stream(seed: int, name: str) -> Generator:
    """Give each part of a patient its own random numbers, so that a new part does not change the others."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


@lru_cache(maxsize=64)
def draw_patient(seed: int, kinds: tuple[NoduleKind, ...], disease: Disease) -> Anatomy:
    """Draw the anatomy of a patient.

    Parameters
    ----------
    seed : int
        At least 0.
    kinds : tuple of str
        The kind of each nodule.
    disease : Disease
        No nodule is in consolidation, fluid, a mass or an opacity.

    Returns
    -------
    Anatomy

    Raises
    ------
    InputError
        If the lungs have no space for that many nodules.
    """
    build = draw_body_build(random_stream(seed, "build"))
    random = random_stream(seed, "vessels")
    trees = [_draw_vessel_tree(random, build, side, root) for side, roots in _ROOTS.items() for root in roots]
    vessels = Tubes(*(np.concatenate([getattr(t, part) for t in trees]) for part in ("start", "stop", "radii")))
    random = random_stream(seed, "emphysema")
    patches = _lung_points(random, build, 6000)
    patches = patches[patches[:, 2] > 0][:70]
    main, lobar = _airway(_MAIN), _airway(_LOBAR)
    opacities = _draw_opacities(random_stream(seed, "haze"), build, disease)
    avoided = opacities[:, :4] if disease.haze else opacities[:0, :4]
    nodules = _draw_nodules(random_stream(seed, "nodules"), build, vessels, kinds, disease, avoided)
    radii = random.uniform(4, 11, (len(patches), 1))
    return Anatomy(build, vessels.split(10.0), main, lobar, nodules, np.hstack([patches, radii]), opacities)


def _draw_opacities(random: Generator, build: BodyBuild, disease: Disease) -> Array:
    """Draw ground-glass patches in dependent lung, as in `Anatomy.opacities`; every fourth is consolidated."""
    centers = _lung_points(random, build, 600)
    centers = centers[(centers[:, 1] * disease.back > -5) & (centers[:, 2] < 40)][:12]
    opacities = np.hstack([centers, random.uniform((12, -620), (27, -120), (len(centers), 2))])
    opacities[::4, 4] = SOLID_HU
    return opacities


def _airway(table: tuple[tuple[Vector, Vector, float, float], ...]) -> Tubes:
    starts, stops, first, last = zip(*table, strict=True)
    return Tubes(np.array(starts), np.array(stops), np.array([first, last]).T)


def _columns(points: Array) -> Points:
    x, y, z = points.T.astype(np.float32)
    return x, y, z


def _lung_points(random: Generator, build: BodyBuild, count: int, *, depth: float = 2.0) -> Array:
    """Draw random points in the lungs, at least `depth` mm below their surface; fewer than `count`, shape (n, 3)."""
    points = random.uniform((-125, -90, -130), (125, 90, 116), (count, 3))
    right, left = lung_depths(_columns(points), build)
    return points[np.minimum(right, left) < -depth]


def _draw_vessel_tree(random: Generator, build: BodyBuild, side: int, root: Vector) -> Tubes:
    """Connect random points, from the root outwards, to the nearest part of the tree; Murray's law gives the radii."""
    points = _lung_points(random, build, 4000, depth=3.0)
    right, left = lung_depths(_columns(points), build)
    points = points[(right if side == RIGHT_LUNG else left) < 0][:_BRANCH_POINTS]
    points = points[np.argsort(np.linalg.norm(points - root, axis=1))]
    tree = np.concatenate([[root], points])
    length = np.zeros(len(tree))
    parents = np.full(len(tree), -1)
    for node in range(1, len(tree)):
        step = np.linalg.norm(tree[:node] - tree[node], axis=1)
        parents[node] = np.argmin(step + 0.35 * length[:node])
        length[node] = length[parents[node]] + step[parents[node]]
    flow = np.zeros(len(tree))
    flow[np.setdiff1d(np.arange(len(tree)), parents)] = _TIP_MM**_MURRAY_EXPONENT  # the leaves
    for node in range(len(tree) - 1, 0, -1):  # children come after their parents
        flow[parents[node]] += flow[node]
    radius = flow ** (1 / _MURRAY_EXPONENT)
    above = parents[1:]
    return Tubes(tree[above], tree[1:], np.stack([np.minimum(radius[above], radius[1:] * 1.3), radius[1:]], axis=1))


def _tube_clearance(tubes: Tubes, points: Array) -> Array:
    """Distance of each point to the nearest surface of a tube, shape (n,)."""
    along = tubes.stop - tubes.start
    length2, radii = np.maximum((along**2).sum(-1), 1e-6), tubes.radii.max(axis=1)
    gaps = []
    for point in points:
        rel = point - tubes.start
        fraction = np.clip((rel * along).sum(-1) / length2, 0, 1)
        gaps.append(np.min(np.linalg.norm(rel - fraction[:, None] * along, axis=-1) - radii))
    return np.array(gaps)


def _draw_nodules(
    random: Generator, build: BodyBuild, vessels: Tubes, kinds: tuple[NoduleKind, ...], disease: Disease, patches: Array
) -> tuple[PatientNodule, ...]:
    """Draw nodules away from airways, each other, disease, and the spheres `patches` (x, y, z, radius)."""
    airways = _airway(_MAIN + _LOBAR)
    nodules: list[PatientNodule] = []
    for kind in kinds:
        radius = float(random.uniform(*((6.0, 9.0) if kind == "ground-glass" else (3.5, 7.0))))
        points = _nodule_points(random, build, vessels, kind, radius)
        points = points[disease_distance(_columns(points), build, disease) > radius + 4]
        gaps = np.linalg.norm(points[:, None] - patches[:, :3], axis=-1) - patches[:, 3]
        points = points[gaps.min(axis=1, initial=np.inf) > radius + 4]
        centers = np.array([nodule.center for nodule in nodules]).reshape(-1, 3)
        far = np.linalg.norm(points[:, None] - centers, axis=-1).min(axis=1, initial=np.inf) > 28
        free = points[far][:40]
        free = free[_tube_clearance(airways, free) > radius + 4] if len(free) else free
        if not len(free):
            what = f"the phantom's lungs have no space for {len(kinds)} nodules"
            raise InputError(what, do="give fewer", code="bad-option")
        x, y, z = free[0].tolist()
        nodules.append(PatientNodule(kind, (x, y, z), radius))
    return tuple(nodules)


def _nodule_points(random: Generator, build: BodyBuild, vessels: Tubes, kind: NoduleKind, radius: float) -> Array:
    """Draw points where a nodule of a kind can be."""
    if kind == "wall":
        points = _lung_points(random, build, 60000, depth=0.0)
        xyz = _columns(points)
        touching = np.abs(thorax(xyz) + 0.6 * radius) < 0.4
        # Above the diaphragm and away from the mediastinum, so that the nodule touches only the chest wall.
        away = (mediastinum(xyz, build) > radius + 6) & (xyz[2] > -40) & (xyz[2] < 70)
        at_wall: Array = points[touching & away]
        return at_wall
    if kind == "vessel":
        points = random.permutation(vessels.stop[(vessels.radii[:, 1] > 1.5) & (vessels.radii[:, 1] < 3.0)])
        right, left = lung_depths(_columns(points), build)
        return points[np.minimum(right, left) < -radius - 5]
    points = _lung_points(random, build, 6000, depth=radius + 6)[:120]
    return points[_tube_clearance(vessels, points) > (1.0 if kind == "ground-glass" else radius + 0.5)]
