"""What grows in the phantom's lungs: the tree of vessels, the airways, nodules and patches of disease.

Everything is drawn once for a seed, in the patient's frame, before any grid is known: two grids show one patient.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from hilum.errors import InputError
from hilum.phantom.anatomy import LEFT, RIGHT, Build, draw_build, lung_depths, mediastinum, thorax
from hilum.phantom.disease import Disease, clear
from hilum.phantom.shapes import Tubes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum.geometry import Vector
    from hilum.phantom.shapes import Points

NoduleKind = Literal["inside", "wall", "vessel", "ground-glass"]
"""Solid within the lung; touching the chest wall; sitting on a vessel; a haze that is no soft tissue."""

NODULE_HU = {"inside": 60.0, "wall": 60.0, "vessel": 60.0, "ground-glass": -600.0}

SOLID_HU = 35.0
_TIP_MM = 0.65  # radius of the last twigs
_MURRAY = 2.3  # a vessel's radius to this power is the sum of its branches' radii to this power
_TWIGS = 420  # branching points of one tree; each lung has an arterial and a venous tree
_ROOTS: dict[int, tuple[Vector, Vector]] = {
    RIGHT: ((-20.0, 6.0, 2.0), (-20.0, 20.0, -22.0)),
    LEFT: ((24.0, 10.0, 6.0), (24.0, 22.0, -20.0)),
}

# Main bronchi and their branches: start, stop, radius of the lumen at both ends.
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
class Lesion:
    """A nodule in the patient's frame, in millimetres of the patient (not yet scaled)."""

    kind: NoduleKind
    center: Vector
    radius: float


@dataclass(frozen=True, eq=False)
class Anatomy:
    """One patient, before any grid.

    Parameters
    ----------
    build : Build
    vessels : Tubes
    main_airways, lobar_airways : Tubes
        Trachea and main bronchi (outside the lungs by definition); the branches that open into the lungs.
    lesions : tuple of Lesion
    emphysema : ndarray, shape (n, 4)
        Centers (x, y, z) and radii of the patches of lost lung.
    haze : ndarray, shape (n, 5)
        Centers, radii and HU of patches of hazy and solid lung.
    """

    build: Build
    vessels: Tubes
    main_airways: Tubes
    lobar_airways: Tubes
    lesions: tuple[Lesion, ...]
    emphysema: NDArray[np.float64]
    haze: NDArray[np.float64]


def stream(seed: int, name: str) -> np.random.Generator:
    """A random stream of its own for each part of a patient, so that a new part never changes the others."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


HEALTHY = Disease()


@lru_cache(maxsize=16)
def grow(seed: int, kinds: tuple[NoduleKind, ...], disease: Disease = HEALTHY) -> Anatomy:
    """Grow a patient.

    Parameters
    ----------
    seed : int
        At least 0.
    kinds : tuple of str
        One for each nodule.
    disease : Disease
        No nodule lies in consolidated lung, in fluid or in a mass.

    Returns
    -------
    Anatomy

    Raises
    ------
    InputError
        If there is no room for that many nodules.
    """
    build = draw_build(stream(seed, "build"))
    random = stream(seed, "vessels")
    trees = [_grow_tree(random, build, side, root) for side, roots in _ROOTS.items() for root in roots]
    vessels = Tubes(*(np.concatenate([getattr(t, part) for t in trees]) for part in ("start", "stop", "radii")))
    random = stream(seed, "emphysema")
    patches = _scatter(random, build, 6000)
    patches = patches[patches[:, 2] > 0][:70]
    main, lobar = _airway(_MAIN), _airway(_LOBAR)
    haze = _draw_haze(stream(seed, "haze"), build, disease)
    ill = haze[:, :4] if disease.haze else haze[:0, :4]
    lesions = _place_lesions(stream(seed, "nodules"), build, vessels, kinds, disease, ill)
    radii = random.uniform(4, 11, (len(patches), 1))
    return Anatomy(build, vessels.split(10.0), main, lobar, lesions, np.hstack([patches, radii]), haze)


def _draw_haze(random: np.random.Generator, build: Build, disease: Disease) -> NDArray[np.float64]:
    """Patches in the lower parts of the lungs, as in `Anatomy.haze`; some have gone all solid."""
    spots = _scatter(random, build, 600)
    spots = spots[(spots[:, 1] * disease.back > -5) & (spots[:, 2] < 40)][:12]
    haze = np.hstack([spots, random.uniform((12, -620), (27, -120), (len(spots), 2))])
    haze[::4, 4] = SOLID_HU
    return haze


def _airway(table: tuple[tuple[Vector, Vector, float, float], ...]) -> Tubes:
    starts, stops, first, last = zip(*table, strict=True)
    return Tubes(np.array(starts), np.array(stops), np.array([first, last]).T)


def _columns(places: NDArray[np.float64]) -> Points:
    x, y, z = places.T.astype(np.float32)
    return x, y, z


def _scatter(random: np.random.Generator, build: Build, count: int, *, depth: float = 2.0) -> NDArray[np.float64]:
    """Random places inside the lungs at least `depth` mm from their surface, shape (n, 3); n is less than `count`."""
    places = random.uniform((-125, -90, -130), (125, 90, 116), (count, 3))
    right, left = lung_depths(_columns(places), build)
    deep: NDArray[np.float64] = places[np.minimum(right, left) < -depth]
    return deep


def _grow_tree(random: np.random.Generator, build: Build, side: int, root: Vector) -> Tubes:
    """Connect random places to the nearest part of a tree that began at the root, and let Murray's law set radii."""
    places = _scatter(random, build, 4000, depth=3.0)
    right, left = lung_depths(_columns(places), build)
    places = places[(right if side == RIGHT else left) < 0][:_TWIGS]
    places = places[np.argsort(np.linalg.norm(places - root, axis=1))]
    tree = np.concatenate([[root], places])
    reach = np.zeros(len(tree))
    parents = np.full(len(tree), -1)
    for node in range(1, len(tree)):
        step = np.linalg.norm(tree[:node] - tree[node], axis=1)
        parents[node] = np.argmin(step + 0.35 * reach[:node])
        reach[node] = reach[parents[node]] + step[parents[node]]
    flow = np.zeros(len(tree))
    leaves = np.setdiff1d(np.arange(len(tree)), parents)
    flow[leaves] = _TIP_MM**_MURRAY
    for node in range(len(tree) - 1, 0, -1):  # children come after their parents
        flow[parents[node]] += flow[node]
    radius = flow ** (1 / _MURRAY)
    above = parents[1:]
    ends = np.stack([np.minimum(radius[above], radius[1:] * 1.3), radius[1:]], axis=1)
    return Tubes(tree[above], tree[1:], ends)


def _tube_clearance(tubes: Tubes, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of each place from the nearest surface of any tube, shape (n,)."""
    along = tubes.stop - tubes.start
    gaps = []
    for place in places:
        rel = place - tubes.start
        share = np.clip((rel * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-6), 0, 1)
        gaps.append(np.min(np.linalg.norm(rel - share[:, None] * along, axis=-1) - tubes.radii.max(axis=1)))
    return np.array(gaps)


def _place_lesions(
    random: np.random.Generator,
    build: Build,
    vessels: Tubes,
    kinds: tuple[NoduleKind, ...],
    disease: Disease,
    patches: NDArray[np.float64],
) -> tuple[Lesion, ...]:
    """Nodules of some kinds, clear of airways, of each other and of disease; `patches` are balls (x, y, z, radius)."""
    airways = _airway(_MAIN + _LOBAR)
    placed: list[Lesion] = []
    for kind in kinds:
        radius = float(random.uniform(*((6.0, 9.0) if kind == "ground-glass" else (3.5, 7.0))))
        places = _candidates(random, build, vessels, kind, radius)
        places = places[clear(_columns(places), build, disease) > radius + 4]
        gaps = np.linalg.norm(places[:, None] - patches[:, :3], axis=-1) - patches[:, 3]
        places = places[gaps.min(axis=1, initial=np.inf) > radius + 4]
        taken = np.array([lesion.center for lesion in placed]).reshape(-1, 3)
        apart = np.linalg.norm(places[:, None] - taken, axis=-1).min(axis=1, initial=np.inf) > 28
        free = places[apart][:40]
        free = free[_tube_clearance(airways, free) > radius + 4] if len(free) else free
        if not len(free):
            raise InputError(
                f"no room for {len(kinds)} nodules in the phantom's lungs", do="ask for fewer", code="bad-option"
            )
        x, y, z = free[0].tolist()
        placed.append(Lesion(kind, (x, y, z), radius))
    return tuple(placed)


def _candidates(
    random: np.random.Generator, build: Build, vessels: Tubes, kind: NoduleKind, radius: float
) -> NDArray[np.float64]:
    """Places where a nodule of a kind can sit, in random order."""
    if kind == "wall":
        places = _scatter(random, build, 60000, depth=0.0)
        points = _columns(places)
        touching = np.abs(thorax(points) + 0.6 * radius) < 0.4
        # Well above the diaphragm and away from the mediastinum: the chest wall alone is touched.
        clear = (mediastinum(points, build) > radius + 6) & (points[2] > -40) & (points[2] < 70)
        found: NDArray[np.float64] = places[touching & clear]
        return found
    if kind == "vessel":
        stout = (vessels.radii[:, 1] > 1.5) & (vessels.radii[:, 1] < 3.0)
        places = random.permutation(vessels.stop[stout])
        right, left = lung_depths(_columns(places), build)
        free: NDArray[np.float64] = places[np.minimum(right, left) < -radius - 5]
        return free
    places = _scatter(random, build, 6000, depth=radius + 6)[:120]
    return places[_tube_clearance(vessels, places) > (1.0 if kind == "ground-glass" else radius + 0.5)]


def check_kinds(kinds: tuple[NoduleKind, ...]) -> None:
    """Refuse names of nodules that the phantom does not know.

    Raises
    ------
    InputError
    """
    known = get_args(NoduleKind)
    for kind in kinds:
        if kind not in known:
            raise InputError(f"nodule kind {kind!r} is none of {', '.join(known)}", code="bad-option")
