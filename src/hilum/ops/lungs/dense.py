"""Dense lung: consolidated and hazy tissue between the air of a lung and the ribs, on cells.

1. Haze: cells brighter than lung and darker than fat, where several lie together (alone they are a wall seen half).
2. The rib cage: bone within some millimetres up and down closes the ring of the ribs in each plane, as these run
   aslant (compare Prasad et al., J Digit Imaging 2008;21(4):452-463, who take the curvature of the ribs).
3. Rays from the middle of each lung's air outward: solid cells after its last air and before the rib are candidates.
4. Candidates are not in the middle of the body, nor fat; they hang together, are thicker than a chest wall's muscles,
   and no ball of the size of a heart or liver fits into them.
5. Fluid is not lung: a part as bright as water is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hilum._kernels.anatomy import coarse, rays
from hilum._kernels.bitmask import bits, morphology
from hilum._kernels.components import labeling, selection

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum._kernels.bitmask.mask import Shape

Size = tuple[float, float, float]

BONE_HU = 150
HAZE_HU = (-400, -150)
"""Lung so hazy is not dark enough for air, and still darker than fat."""

HAZE_MM = 4.2
"""Half the thickness of hazy lung, more than that of a wall seen half."""

FAT_HU = -40
"""Cells below it are fat, or seen half; the chest wall's fat has -120 to -80."""

BRIGHT_HU = 160
RIBS_MM = 13.0
"""Half the distance of two ribs: bone so far up and down closes the gaps between them."""

WALL_MM = 3.0
"""Muscle and pleura inside the ribs."""

THICK_MM = 5.0
"""Half the thickness of what is more than a wall."""

HEART_MM = 24.0
"""Radius of a ball that fits into heart and liver, and not between the lung and the ribs."""

MIDDLE_MM = 35.0
"""Spine, aorta and gullet lie nearer to the middle than this."""

COARSE_MM = 6.0
"""Cells for them need not be smaller."""

CORNER_MM = 14.0
"""What is so near to heart and liver is the corner between them and the chest wall."""

ASIDE_MM = 60.0
"""Heart and great vessels lie nearer to the middle than this, the liver does not."""

HIGH = 0.62
"""Above this part of the lungs' height there is no heart, and the vessels keep to the middle."""

TALL_MM = 130.0
"""Lungs that are less tall are cut off; then no plane is known to lie high."""

AROUND_MM = 30.0
"""The ribs lie so close around the lungs."""

LIVER_MM2 = 600.0
BACKWARD = 0.5
"""Directions with a larger part to the back than this look backward (60 degrees to either side)."""

APEX_MM = 25.0
"""Under the tip of the lung muscles lie between it and the ribs."""

LEAST_ML = 3.0
BLOCK_MM = 12.0
FLUID_HU = 16.0
"""Fluid in the pleural space is darker than this on the whole, consolidated lung brighter."""


def find_dense(
    cells: NDArray[np.int16],
    labels: NDArray[np.uint8],
    body: NDArray[np.bool_],
    size: Size,
    middle: float,
) -> NDArray[np.uint8]:
    """Cells of dense lung.

    Parameters
    ----------
    cells : ndarray of int16, shape (cz, cy, cx), HU
        Axes to the head, the back and the left.
    labels : ndarray of uint8, shape (cz, cy, cx)
        1 and 2 in the air of the right and the left lung.
    body : ndarray of bool, shape (cz, cy, cx)
        Solid cells of the body.
    size : tuple of float, (z, y, x), mm
    middle : float
        Where the middle of the body is along x, in cells.
    workers : int

    Returns
    -------
    ndarray of uint8, shape (cz, cy, cx)
        1 or 2 in dense parts of that lung.
    """
    out = np.zeros(cells.shape, np.uint8)
    near = _around(labels, size)
    if near is not None:
        off = np.asarray((np.arange(cells.shape[2]) - middle)[near[2]] * size[2], np.float64)
        local = np.ascontiguousarray(cells[near]), np.ascontiguousarray(labels[near]), np.ascontiguousarray(body[near])
        out[near] = _find_local(*local, size, off)
    return out


def _around(labels: NDArray[np.uint8], size: Size) -> tuple[slice, slice, slice] | None:
    """The box of the lungs with the ribs around them."""
    packed = bits.threshold(labels, 1, 2)
    inside = bits.bounding_box(packed)
    if inside is None:
        return None
    columns = np.flatnonzero(np.bitwise_or.reduce(packed.words, axis=(0, 1)))  # words, refined below
    x = np.flatnonzero(labels[:, :, 64 * columns[0] : 64 * columns[-1] + 64].any(axis=(0, 1))) + 64 * columns[0]
    spans = [(s.start, s.stop) for s in inside[:2]] + [(int(x[0]), int(x[-1]) + 1)]
    room = [round(AROUND_MM / s) for s in size]
    z, y, x = (slice(max(0, a - r), min(n, b + r)) for (a, b), r, n in zip(spans, room, labels.shape, strict=True))
    return z, y, x


def _find_local(
    cells: NDArray[np.int16],
    labels: NDArray[np.uint8],
    body: NDArray[np.bool_],
    size: Size,
    off: NDArray[np.float64],
) -> NDArray[np.uint8]:
    """`find_dense` in the box of the lungs; `off` is how far left of the middle each column of cells lies, mm."""
    shape: Shape = cells.shape
    solid, tissue = (cells > FAT_HU) & (cells < BRIGHT_HU), cells > HAZE_HU[0]
    bone = bits.threshold(cells, BONE_HU, 32767)
    upright = morphology.ellipsoid(RIBS_MM, (size[0], np.inf, np.inf), shape)
    ring = bits.unpack(morphology.dilate(bone, upright))
    organs, near = _organs(tissue & ~ring, labels, np.abs(off), size)
    back = rays.directions()[:, 0] >= BACKWARD
    out = _haze(cells, labels, body, size)
    for label, side in ((1, -1.0), (2, 1.0)):
        lung = labels == label
        centers, (allowed, high) = _centers(lung, size), _directions(lung, side, near & (side * off >= ASIDE_MM), size)
        found = np.zeros(shape, np.bool_)
        for looked, other in ((back, organs), (~back, near)):
            some = rays.between_lung_and_ribs(
                labels, label, tissue, ring, centers, allowed & looked, size[1:], gap=WALL_MM
            )
            some[~high] &= ~other[~high]
            found |= some
        found &= solid & (side * off >= MIDDLE_MM)
        out[_parts(cells, found, size) & (out == 0)] = label
    return out


def _organs(
    room: NDArray[np.bool_], labels: NDArray[np.uint8], off: NDArray[np.float64], size: Size
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Heart and liver, and the same with the corners between them and the chest wall.

    They reach to the middle of the body or below the lungs; a dense lung as thick does neither.
    """
    shape: Shape = room.shape
    factors: Shape = tuple(max(1, round(COARSE_MM / s)) for s in size)  # type: ignore[assignment]  # three of them
    coarser = tuple(s * f for s, f in zip(size, factors, strict=True))
    full = coarse.cell_means(room.astype(np.int16) * 64, factors) == 64
    packed = bits.pack(full)
    ball, wide = (
        morphology.ellipsoid(r, coarser, full.shape)  # type: ignore[arg-type]  # three of each
        for r in (HEART_MM, HEART_MM + CORNER_MM)
    )
    core = morphology.erode(packed, ball)
    runs = labeling.find_components(core, corners=False)
    named = selection.label_image(runs)
    wanted = np.zeros(runs.number + 1, np.bool_)
    wanted[np.unique(named[:, :, off[:: factors[2]] < MIDDLE_MM])] = True
    planes = np.flatnonzero(labels.any(axis=(1, 2)))
    if planes.size:
        wanted[np.unique(named[: planes[0] // factors[0] + 1])] = True
    core = selection.select(runs, wanted[1:])
    found = []
    for rods in (ball, wide):
        grown = bits.unpack(morphology.dilate(core, rods)).view(np.uint8)
        cells = coarse.to_voxels(grown, 1, factors, shape)
        found.append(bits.unpack(cells))
    return found[0], found[1]


def _haze(
    cells: NDArray[np.int16], labels: NDArray[np.uint8], body: NDArray[np.bool_], size: Size
) -> NDArray[np.uint8]:
    """Hazy cells of the body, several together, that hang together with a lung; its label."""
    shape: Shape = cells.shape
    some = (cells > HAZE_HU[0]) & (cells <= HAZE_HU[1]) & body
    packed = bits.pack(some)
    # Of thick slices at least three: a diaphragm seen half in one is as gray.
    ball = morphology.ellipsoid(HAZE_MM, (min(size[0], HAZE_MM), *size[1:]), shape)
    together = morphology.open_(packed, ball)
    if not together.any():
        return np.zeros(shape, np.uint8)
    reached = coarse.grow_labels(labels, some)
    reached[~bits.unpack(together)] = 0
    return reached


def _centers(lung: NDArray[np.bool_], size: Size) -> NDArray[np.float64]:
    """The middle of a lung's air in each plane and those within some millimetres, (y, x); -1 where there is none."""
    y, x = np.arange(lung.shape[1]), np.arange(lung.shape[2])
    rows, columns = lung.sum(axis=2), lung.sum(axis=1)
    sums = np.stack([rows.sum(axis=1), rows @ y, columns @ x], axis=1).astype(np.float64)
    here = sums[:, 0].copy()
    reach = max(1, round(6.0 / size[0]))
    wide = np.pad(sums, ((reach, reach), (0, 0)))
    sums = np.sum([wide[k : k + len(sums)] for k in range(2 * reach + 1)], axis=0)
    centers: NDArray[np.float64] = sums[:, 1:] / np.maximum(sums[:, :1], 1)
    centers[here == 0] = -1
    return centers


def _directions(
    lung: NDArray[np.bool_], side: float, organs: NDArray[np.bool_], size: Size
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which directions are looked into from a lung in each plane, shape (z, rays); and which planes lie high, (z,).

    To the back always; to the side where the liver is not; to the front where the heart is not.
    """
    planes = np.flatnonzero(lung.any(axis=(1, 2)))
    z = np.arange(len(lung))
    if not planes.size:
        return np.zeros((len(lung), rays.RAYS), np.bool_), z < 0
    low, top = planes[0], planes[-1] + 1
    tall = (top - low) * size[0] >= TALL_MM
    high = (z >= low + HIGH * (top - low)) & tall
    beside = np.maximum.accumulate((organs.sum(axis=(1, 2)) * size[1] * size[2] > LIVER_MM2)[::-1])[::-1] & ~high
    turn = rays.directions()
    back, aside = turn[:, 0] >= BACKWARD, (turn[:, 0] >= -BACKWARD) & (turn[:, 1] * side > 0)
    allowed = back | (aside & (~beside & tall)[:, None]) | high[:, None]
    allowed &= (z < top - APEX_MM / size[0])[:, None]
    return allowed, high


def _fluid(cells: NDArray[np.int16], found: NDArray[np.bool_], size: Size) -> NDArray[np.bool_]:
    """Blocks of cells whose candidates are as bright as water on the average."""
    shape: Shape = found.shape
    factors: Shape = tuple(max(1, round(BLOCK_MM / s)) for s in size)  # type: ignore[assignment]  # three of them
    bright = coarse.cell_means(found * cells * np.int16(16), factors)
    some = coarse.cell_means(found * np.int16(16), factors)
    water = (bright < FLUID_HU * some).view(np.uint8)
    return bits.unpack(coarse.to_voxels(water, 1, factors, shape))


def _parts(cells: NDArray[np.int16], found: NDArray[np.bool_], size: Size) -> NDArray[np.bool_]:
    """Of the candidates what is thick, but no heart or liver, large enough, and no fluid."""
    shape: Shape = found.shape
    packed = bits.pack(found & ~_fluid(cells, found, size))
    kept = morphology.open_(packed, morphology.ellipsoid(THICK_MM, size, shape))
    runs = labeling.find_components(kept, corners=False)
    if not runs.number:
        return np.zeros(shape, np.bool_)
    hu = coarse.component_means(runs, cells, 0.0)[:, 3]
    milliliters = labeling.sizes(runs) * float(np.prod(size)) / 1000
    wanted = (hu >= FLUID_HU) & (milliliters >= LEAST_ML)
    return bits.unpack(selection.select(runs, wanted))
