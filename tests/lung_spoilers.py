"""Ways to make a right lung mask, or a scan, wrong: what a verdict on a mask has to see.

Each takes a phantom-like chest (HU, truth, spacing, a random generator) and gives HU and a mask; sizes are in mm.
Axes run to the head, the back and the left. `TUNED` are those that bounds may be chosen on, `HELD_OUT` only tell how
well that went.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage


@dataclass
class Chest:
    """HU int16, labels (1 right, 2 left), gas of the bowel and trachea, spacing; arrays (z, y, x)."""

    hu: np.ndarray
    lungs: np.ndarray
    bowel: np.ndarray
    airways: np.ndarray
    spacing: tuple[float, float, float]

    def voxels(self, mm):
        return tuple(round(mm / s) for s in self.spacing)


def _ball_distance(mask, chest):
    return ndimage.distance_transform_edt(mask, sampling=chest.spacing)


def _blobs(chest, random, mm):
    """A smooth random field of unit deviation."""
    noise = random.standard_normal(
        [max(2, round(n * s / mm)) for n, s in zip(chest.hu.shape, chest.spacing, strict=True)]
    )
    field = ndimage.zoom(noise, np.array(chest.hu.shape) / noise.shape, order=1)
    return field / field.std()


def lose_side(chest, random):
    lungs = chest.lungs.copy()
    lungs[lungs == random.integers(1, 3)] = 0
    return chest.hu, lungs


def lose_lower_part(chest, random):
    lungs = chest.lungs.copy()
    there = np.flatnonzero(lungs.any(axis=(1, 2)))
    lungs[: there[0] + round(there.size * random.uniform(0.25, 0.5))] = 0
    return chest.hu, lungs


def erode(chest, random):
    keep = _ball_distance(chest.lungs > 0, chest) > random.uniform(6, 12)
    return chest.hu, chest.lungs * keep


def dilate(chest, random):
    distance, near = ndimage.distance_transform_edt(chest.lungs == 0, sampling=chest.spacing, return_indices=True)
    return chest.hu, np.where(distance < random.uniform(10, 16), chest.lungs[tuple(near)], 0).astype(np.uint8)


def shift(chest, random):
    move = random.standard_normal(3)
    move *= random.uniform(15, 30) / np.linalg.norm(move)
    return chest.hu, np.roll(
        chest.lungs, [round(m / s) for m, s in zip(move, chest.spacing, strict=True)], axis=(0, 1, 2)
    )


def swap_sides(chest, random):  # noqa: ARG001
    return chest.hu, np.array([0, 2, 1], np.uint8)[chest.lungs]


def flip_up(chest, random):  # noqa: ARG001
    return chest.hu, chest.lungs[::-1].copy()


def merge_sides(chest, random):
    return chest.hu, ((chest.lungs > 0) * random.integers(1, 3)).astype(np.uint8)


def leak_out(chest, random):
    """The mask runs through a hole of the wall into the air around the patient."""
    lungs = chest.lungs.copy()
    dark = ndimage.label(chest.hu < -500)[0]
    outside = dark == dark[0, 0, 0]
    middle = chest.hu.shape[2] // 2
    side = int(random.integers(1, 3))
    part = outside & ((np.arange(chest.hu.shape[2]) < middle) == (side == 1))
    low = np.argwhere(lungs == side)[:, 0]
    part[: int(np.quantile(low, random.uniform(0.1, 0.4)))] = part[
        int(np.quantile(low, random.uniform(0.6, 0.9))) :
    ] = False
    lungs[part & (lungs == 0)] = side
    return chest.hu, lungs


def speckle(chest, random):
    keep = random.random(chest.hu.shape) > random.uniform(0.3, 0.6)
    return chest.hu, chest.lungs * keep


def lose_a_slab(chest, random):
    """The back, the front or a flank of both lungs is lost."""
    lungs = chest.lungs.copy()
    axis = int(random.integers(1, 3))
    there = np.flatnonzero(lungs.any(axis=tuple({0, 1, 2} - {axis})))
    cut = there[0] + round(there.size * random.uniform(0.25, 0.4))
    index = [slice(None)] * 3
    index[axis] = slice(0, cut) if random.random() < 0.5 else slice(2 * int(there[0] + there.size / 2) - cut, None)
    lungs[tuple(index)] = 0
    return chest.hu, lungs


def only_bowel_and_trachea(chest, random):  # noqa: ARG001
    return chest.hu, np.where((chest.bowel | chest.airways) > 0, 1, 0).astype(np.uint8)


def lost_lung_for_bowel(chest, random):
    lungs = chest.lungs.copy()
    lungs[lungs == random.integers(1, 3)] = 0
    lungs[(chest.bowel | chest.airways) > 0] = 1
    return chest.hu, lungs


def table_gap(chest, random):  # noqa: ARG001
    """Air below the patient is taken, as the largest pocket of a scan in which the lungs are joined to the outside."""
    dark = ndimage.label(chest.hu < -500)[0]
    gap = dark == dark[0, 0, 0]
    back = np.flatnonzero((chest.lungs > 0).any(axis=(0, 2)))[-1]
    gap[:, : back + chest.voxels(15)[1]] = False
    middle = chest.hu.shape[2] // 2
    return chest.hu, np.where(gap, np.where(np.arange(chest.hu.shape[2]) < middle, 1, 2), 0).astype(np.uint8)


def whole_body(chest, random):  # noqa: ARG001
    solid = ndimage.label(chest.hu > -300)[0]
    trunk = solid == 1 + np.argmax(np.bincount(solid.ravel())[1:])
    filled = np.stack([ndimage.binary_fill_holes(plane) for plane in trunk])
    x = np.arange(chest.hu.shape[2])
    middle = np.argwhere(filled)[:, 2].mean()
    return chest.hu, np.where(filled, np.where(x < middle, 1, 2), 0).astype(np.uint8)


def heart_taken(chest, random):  # noqa: ARG001
    """All between the lungs is taken too, as by a convex hull in every plane."""
    lungs = chest.lungs.copy()
    for plane in lungs:
        for row in plane:
            there = np.flatnonzero(row)
            if there.size:
                middle = (there[0] + there[-1]) // 2
                gap = row[there[0] : there[-1] + 1] == 0
                fill = np.where(np.arange(there[0], there[-1] + 1) < middle, 1, 2)
                row[there[0] : there[-1] + 1][gap] = fill[gap]
    return chest.hu, lungs


def liver_taken(chest, random):
    """The lungs reach some centimetres too far down."""
    lungs = chest.lungs.copy()
    for _ in range(max(1, round(random.uniform(35, 60) / chest.spacing[0]))):
        below = np.roll(lungs, -1, axis=0)
        below[-1] = 0
        lungs = np.where(lungs == 0, below, lungs)
    return chest.hu, lungs


def patches_missing(chest, random):
    return chest.hu, chest.lungs * (_blobs(chest, random, 30.0) < random.uniform(0.2, 0.7))


def blobs(chest, random):
    found = _blobs(chest, random, 60.0) > 0.8
    return chest.hu, np.where(found, np.where(np.arange(chest.hu.shape[2]) < chest.hu.shape[2] // 2, 1, 2), 0).astype(
        np.uint8
    )


def slices_missing(chest, random):
    lungs = chest.lungs.copy()
    gone = random.random(lungs.shape[0]) < random.uniform(0.25, 0.5)
    lungs[gone] = 0
    return chest.hu, lungs


def transposed(chest, random):  # noqa: ARG001
    """Rows for columns."""
    turned = np.swapaxes(chest.lungs, 1, 2)
    n = min(turned.shape[1], turned.shape[2])
    out = np.zeros_like(chest.lungs)
    out[:, : min(n, out.shape[1]), : min(n, out.shape[2])] = turned[:, : min(n, out.shape[1]), : min(n, out.shape[2])]
    return chest.hu, out


def mirrored(chest, random):
    """Front for back, or left for right."""
    return chest.hu, np.flip(chest.lungs, int(random.integers(1, 3))).copy()


def wrong_size(chest, random):
    """The mask of a grid of another spacing: too small or too large by a tenth to a third, about the middle."""
    factor = random.uniform(0.7, 0.88) if random.random() < 0.5 else random.uniform(1.14, 1.4)
    place = [(np.arange(n) - n / 2) / factor + n / 2 for n in chest.lungs.shape]
    picked = [np.clip(np.rint(p), 0, n - 1).astype(int) for p, n in zip(place, chest.lungs.shape, strict=True)]
    return chest.hu, chest.lungs[np.ix_(*picked)]


def rings(chest, random):
    """Every second shell around the middle is lost, as by rings of a bad detector."""
    y, x = np.ogrid[: chest.hu.shape[1], : chest.hu.shape[2]]
    radius = np.hypot((y - chest.hu.shape[1] / 2) * chest.spacing[1], (x - chest.hu.shape[2] / 2) * chest.spacing[2])
    lost = radius % (width := random.uniform(12, 30)) < width * random.uniform(0.3, 0.5)
    return chest.hu, chest.lungs * ~lost


def only_core(chest, random):
    """One connected seed that has not grown far."""
    deep = _ball_distance(chest.lungs > 0, chest)
    return chest.hu, chest.lungs * (deep > 0.4 * deep.max() * random.uniform(0.8, 1.3))


def values_off(chest, random):
    """A rescale forgotten or done twice: the mask is what a threshold of -400 then finds."""
    hu = np.clip(chest.hu.astype(np.int32) + (1024 if random.random() < 0.5 else -1024), -32768, 32767).astype(np.int16)
    dark = ndimage.label(hu < -400)[0]
    sizes = np.bincount(dark.ravel())[1:]
    found = dark == 1 + np.argmax(sizes) if sizes.size else np.zeros(hu.shape, bool)
    x = np.arange(hu.shape[2])
    return hu, np.where(found, np.where(x < hu.shape[2] // 2, 1, 2), 0).astype(np.uint8)


def nothing(chest, random):  # noqa: ARG001
    return chest.hu, np.zeros_like(chest.lungs)


def sides_by_front_and_back(chest, random):  # noqa: ARG001
    """Labels told along the wrong axis."""
    y = np.arange(chest.hu.shape[1])[:, None]
    return chest.hu, np.where(chest.lungs > 0, np.where(y < np.argwhere(chest.lungs)[:, 1].mean(), 1, 2), 0).astype(
        np.uint8
    )


def other_patient(chest, random):
    """A mask of somebody else, on the same grid."""
    from hilum.phantom.chest import make_phantom

    seed = int(random.integers(2**31))
    return chest.hu, make_phantom(seed=seed, shape=chest.hu.shape, spacing=chest.spacing).lungs.array


def stretched(chest, random):
    """The slices of another spacing than stated: too low or too high, about the middle."""
    factor = random.uniform(0.7, 0.85) if random.random() < 0.5 else random.uniform(1.2, 1.4)
    n = chest.lungs.shape[0]
    picked = np.rint((np.arange(n) - n / 2) / factor + n / 2).astype(int)
    lungs = chest.lungs[np.clip(picked, 0, n - 1)]
    lungs[(picked < 0) | (picked >= n)] = 0
    return chest.hu, lungs


def rotated(chest, random):
    angle = random.uniform(12, 30) * random.choice([-1, 1])
    return chest.hu, ndimage.rotate(chest.lungs, angle, axes=(1, 2), reshape=False, order=0)


def lobe_lost(chest, random):
    """All below or above an oblique plane, of one lung."""
    lungs = chest.lungs.copy()
    side = int(random.integers(1, 3))
    at = np.argwhere(lungs == side)
    z, y, _ = np.ogrid[tuple(slice(n) for n in lungs.shape)]
    height = 0.8 * z * chest.spacing[0] - 0.6 * y * chest.spacing[1]
    middle = np.median(0.8 * at[:, 0] * chest.spacing[0] - 0.6 * at[:, 1] * chest.spacing[1])
    beyond = height < middle if random.random() < 0.5 else height > middle
    lungs[beyond & (lungs == side)] = 0
    return chest.hu, lungs


def sides_changed_below(chest, random):
    """The labels are swapped in the lower part of both lungs."""
    lungs = chest.lungs.copy()
    there = np.flatnonzero(lungs.any(axis=(1, 2)))
    cut = there[0] + round(there.size * random.uniform(0.3, 0.7))
    lungs[:cut] = np.array([0, 2, 1], np.uint8)[lungs[:cut]]
    return chest.hu, lungs


def only_dark(chest, random):
    """A threshold far too low: emphysema and the middle of the lungs."""
    return chest.hu, chest.lungs * (ndimage.uniform_filter(chest.hu.astype(np.float32), 3) < random.uniform(-860, -840))


def closed_too_far(chest, random):
    """Dents are closed by a ball as large as the heart."""
    lungs, mm = chest.lungs.copy(), random.uniform(45, 60)
    grown = ndimage.distance_transform_edt(lungs == 0, sampling=chest.spacing) < mm
    whole = _ball_distance(np.pad(grown, 1, constant_values=True), chest)[1:-1, 1:-1, 1:-1] >= mm
    x = np.arange(lungs.shape[2])
    return chest.hu, np.where(whole & (lungs == 0), np.where(x < np.argwhere(lungs)[:, 2].mean(), 1, 2), lungs).astype(
        np.uint8
    )


def dense_lung_left_out(chest, random):
    """A third and more of the lungs is consolidated or hazy, in patches at the back, and the mask leaves it out."""
    hu, lungs = chest.hu.copy(), chest.lungs.copy()
    y = np.arange(hu.shape[1])[:, None] * chest.spacing[1]
    field = _blobs(chest, random, 35.0) + (y - y.mean()) / 60
    dense = (field > np.quantile(field[lungs > 0], random.uniform(0.5, 0.68))) & (lungs > 0)
    hu[dense] = random.normal(random.choice([-300, 20]), 30, np.count_nonzero(dense)).astype(np.int16)
    lungs[dense] = 0
    return hu, lungs


TUNED = (
    lose_side, lose_lower_part, erode, dilate, shift, swap_sides, flip_up, leak_out, speckle, only_bowel_and_trachea,
    whole_body, patches_missing, values_off, heart_taken, dense_lung_left_out,
)  # fmt: skip
HELD_OUT = (
    merge_sides, lose_a_slab, lost_lung_for_bowel, table_gap, liver_taken, blobs, slices_missing,
    transposed, mirrored, wrong_size, rings, only_core, nothing, sides_by_front_and_back,
    other_patient, stretched, rotated, lobe_lost, sides_changed_below, only_dark, closed_too_far,
)  # fmt: skip
