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

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum._kernels.bits import Bits, Shape

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

WALL_MM = 4.0
"""Muscle and pleura inside the ribs."""

THICK_MM = 5.0
"""Half the thickness of what is more than a wall."""

HEART_MM = 24.0
"""Radius of a ball that fits into heart and liver, and not between the lung and the ribs."""

MIDDLE_MM = 35.0
"""Spine, aorta and gullet lie nearer to the middle than this."""

CORNER_MM = 14.0
"""What is so near to heart and liver is the corner between them and the chest wall."""

ASIDE_MM = 60.0
"""Heart and great vessels lie nearer to the middle than this, the liver does not."""

HIGH = 0.62
"""Above this part of the lungs' height there is no heart, and the vessels keep to the middle."""

TALL_MM = 130.0
"""Lungs that are less tall are cut off; then no plane is known to lie high."""

LIVER_MM2 = 600.0
BACKWARD = 0.5
"""Directions with a larger part to the back than this look backward (60 degrees to either side)."""

APEX_MM = 25.0
"""Under the tip of the lung muscles lie between it and the ribs."""

LEAST_ML = 3.0
FLUID_HU = 14.0
"""Fluid in the pleural space is darker than this on the whole, consolidated lung brighter."""


def find_dense(
    cells: NDArray[np.int16],
    labels: NDArray[np.uint8],
    body: NDArray[np.bool_],
    size: Size,
    middle: float,
    *,
    workers: int = 0,
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
    from hilum._kernels import bits, morphology, rays

    shape: Shape = cells.shape
    solid = (cells > FAT_HU) & (cells < BRIGHT_HU)
    bone = bits.between(cells, BONE_HU, 32767, workers=1)
    upright = morphology.ellipsoid(RIBS_MM, (size[0], np.inf, np.inf), shape)
    cage = bits.paint(morphology.dilate(bone, shape[2], upright, workers=1), np.zeros(shape, np.uint8), workers=1)
    tissue = (cells > -400)
    off = (np.arange(shape[2]) - middle) * size[2]
    room = bits.between((tissue & ~cage.view(np.bool_)).view(np.uint8), 1, 1, workers=1)
    heart = morphology.open_(room, shape[2], morphology.ellipsoid(HEART_MM, size, shape), workers=1)
    near = morphology.dilate(heart, shape[2], morphology.ellipsoid(CORNER_MM, size, shape), workers=1)
    organs = bits.paint(near, np.zeros(shape, np.uint8), workers=1).view(np.bool_)
    haze = _haze(cells, body, size)
    out = np.zeros(shape, np.uint8)
    for label, side in ((1, -1.0), (2, 1.0)):
        lung = labels == label
        centers, (allowed, high) = _centers(lung, size), _directions(lung, side, organs & (side * off >= ASIDE_MM), size)
        found = rays.between(
            labels, label, tissue, cage.view(np.bool_), centers, allowed, (size[1], size[2]), gap=WALL_MM, workers=workers
        )
        found &= solid & (side * off >= MIDDLE_MM) & ~(organs & ~high[:, None, None])
        part = _parts(cells, found, size) | (haze & (side * off >= MIDDLE_MM))
        out[part & (out == 0)] = label
    return out


def _haze(cells: NDArray[np.int16], body: NDArray[np.bool_], size: Size) -> NDArray[np.bool_]:
    """Hazy cells of the body, several together."""
    from hilum._kernels import bits, morphology

    shape: Shape = cells.shape
    some = (cells > HAZE_HU[0]) & (cells <= HAZE_HU[1]) & body
    packed = bits.between(some.view(np.uint8), 1, 1, workers=1)
    together = morphology.open_(packed, shape[2], morphology.ellipsoid(HAZE_MM, size, shape), workers=1)
    return bits.paint(together, np.zeros(shape, np.uint8), workers=1).view(np.bool_)


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
    from hilum._kernels import rays

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


def _parts(cells: NDArray[np.int16], found: NDArray[np.bool_], size: Size) -> NDArray[np.bool_]:
    """Of the candidates what is thick, but no heart or liver, large enough, and no fluid."""
    from hilum._kernels import bits, coarse, components, morphology, selection

    shape: Shape = found.shape
    packed = bits.between(found.view(np.uint8), 1, 1, workers=1)
    kept = morphology.open_(packed, shape[2], morphology.ellipsoid(THICK_MM, size, shape), workers=1)
    runs = components.find_components(kept, shape, corners=False, workers=1)
    if not runs.number:
        return np.zeros(shape, np.bool_)
    hu = coarse.means(runs, cells, 0.0)[:, 3]
    milliliters = components.sizes(runs) * float(np.prod(size)) / 1000
    wanted = (hu >= FLUID_HU) & (milliliters >= LEAST_ML)
    return bits.paint(selection.select(runs, wanted, workers=1), np.zeros(shape, np.uint8), workers=1).view(np.bool_)
