"""Alarms of the lung masks of ill phantoms: does an alarm name the cause of every bad mask.

    python bench/ill_lungs.py [--number 60] [--first 0] [--kinds lobe dependent pneumothorax hernia haze]

Kinds, spacings and noise take turns. In the truth dense lung is lung; a pneumothorax or hernia is not. A mask is bad
if the Dice of both lungs, or of one, is below 0.95, and told if an alarm has one of the codes in `KINDS`.
"""

import argparse
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

import hilum
from hilum.ops.lungs.fallback import find_lungs
from hilum.ops.quality.agreement import compare_masks
from hilum.ops.quality.measure import ALARMS, quality_notes
from hilum.phantom.chest import Phantom, PhantomOptions, make_phantom

SPACINGS, NOISE_HU, PIXEL_MM, BAD = (1.0, 2.5, 5.0, 8.0), (10.0, 30.0, 60.0), 1.6, 0.95


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=60, help="of ill phantoms; the healthy ones have the same seeds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS)[:-1], choices=list(KINDS))
    arguments = parser.parse_args()
    seeds, kinds = range(arguments.first, arguments.first + arguments.number), arguments.kinds
    print_tables([measure_case(kind, seed) for seed in seeds for kind in (kinds[seed % len(kinds)], "healthy")])


def measure_case(kind: str, seed: int) -> dict:
    """Segment one phantom as a run does, compare the mask with the truth, and print a line."""
    ct, truth = make_case(kind, seed)
    result = find_lungs(ct, hilum.segment_lungs, own=True)
    dice = [compare_masks(result.mask, truth, label=label).dice for label in (None, 1, 2)]
    codes = [note.code for note in (*result.notes, *quality_notes(result.figures))]
    alarm, told = (not causes.isdisjoint(codes) for causes in (ALARMS, KINDS[kind][1]))
    verdict = "" if min(dice) >= BAD else "told" if told else "NOT TOLD"
    text = f"{seed:4d} {kind:13s}{ct.spacing[0]:4g} mm, Dice" + "".join(f"{value:6.3f}" for value in dice)
    print(f"{text}, {verdict:9s}{' '.join(codes) or '-'}", flush=True)
    return {"kind": kind, "seed": seed, "dice": dice, "alarm": alarm, "told": told, "figures": result.figures}


def make_case(kind: str, seed: int) -> tuple[hilum.Volume, hilum.Mask]:
    """Make a phantom with one disease, or a healthy one: its scan, and the true lungs."""
    random = np.random.default_rng(seed)
    table, field = (bool(random.random() < 0.8) for _ in range(2))
    options = PhantomOptions(table=table, field_of_view=field, noise_hu=NOISE_HU[seed % 3], haze=kind == "haze")
    both, spacing = (options, replace(options, noise_hu=0.0)), (SPACINGS[seed % 4], PIXEL_MM, PIXEL_MM)
    noisy, clean = (make_phantom(seed=seed, spacing=spacing, options=one) for one in both)
    hu, truth = clean.scan.ct.array.astype(np.float32), clean.lungs.array.copy()
    KINDS[kind][0](clean, hu, truth, random)  # changes both
    array = np.clip(np.rint(hu + noisy.scan.ct.array - clean.scan.ct.array), -1024, 3071).astype(np.int16)
    return hilum.Volume(array, clean.lungs.geometry), hilum.Mask(truth, clean.lungs.geometry)


def draw_lobe(chest: Phantom, hu: NDArray, truth: NDArray, random: np.random.Generator) -> None:
    """Consolidate the lower or upper lobe of one lung; some bronchi keep their air."""
    z, y, x = positions(chest)
    lung = truth == random.integers(1, 3)
    score = random.choice([-1, 1]) * (0.8 * z - 0.6 * y + 0.001 * (x - x.mean()) ** 2)  # the phantom's fissures
    weight = lowest(score, lung, random.uniform(0.33, 0.5))
    make_dense(chest, hu, lung, weight, random.uniform(20, 50))
    lobe = np.nonzero(lung & (weight > 0))
    points = np.transpose(lobe) * chest.lungs.spacing
    start = np.argwhere(lung).mean(axis=0) * chest.lungs.spacing
    start[2] += 0.5 * (x.mean() - start[2])  # toward the hilum
    for end in points[random.integers(0, len(points), 6)]:
        along = np.clip((points - start) @ (end - start) / np.sum((end - start) ** 2), 0, 1)
        distance = np.linalg.norm(points - start - along[:, None] * (end - start), axis=1)
        hu[lobe] += np.clip((2.2 - along - distance) / PIXEL_MM + 0.5, 0, 1) * (-850 - hu[lobe])


def draw_dependent(chest: Phantom, hu: NDArray, truth: NDArray, random: np.random.Generator) -> None:
    """Make the rear part of both lungs dense: a gradual transition, and solid at the wall."""
    share, gradual, value = random.uniform(0.25, 0.4), random.uniform(0.5, 1.0), random.uniform(0, 30)
    score = wavy(chest, random) - positions(chest)[1]
    for lung in (truth == 1, truth == 2):
        depth = np.quantile(score[lung], share) - score[lung].min()
        make_dense(chest, hu, lung, lowest(score, lung, share, gradual * depth), value)


def draw_pneumothorax(chest: Phantom, hu: NDArray, truth: NDArray, random: np.random.Generator) -> None:
    """Replace the front of one lung by air behind a thin pleura; the rest is denser."""
    z, y, x = positions(chest)
    label = random.integers(1, 3)
    score = y + (0.3, -0.3)[label - 1] * x - 0.15 * z + wavy(chest, random)
    gas = (truth == label) & (lowest(score, truth == label, random.uniform(0.2, 0.4)) > 0)
    hu[(truth == label) & ~gas] *= 0.82  # -850 HU becomes -700
    hu[(truth == label) & ~gas & ndimage.binary_dilation(gas, np.ones((1, 3, 3)))] *= 0.7
    hu[gas], truth[gas] = -1000, 0


def draw_hernia(chest: Phantom, hu: NDArray, truth: NDArray, random: np.random.Generator) -> None:
    """Put a part of the stomach into the lower left chest: solid, and gas in front behind a wall of 4 mm."""
    lung, axes, ml = truth == 2, positions(chest), chest.lungs.geometry.voxel_volume / 1000
    square = np.zeros(hu.shape, np.float32)
    for axis, share in zip(axes, ((0.08, 0.25), (0.4, 0.8), (0.2, 0.6)), strict=True):
        center = np.quantile(np.broadcast_to(axis, hu.shape)[lung], random.uniform(*share))
        square += ((axis - center) / random.uniform(0.8, 1.2)) ** 2
    weight = lowest(np.sqrt(square), lung, random.uniform(150, 400) / (lung.sum() * ml))
    make_dense(chest, hu, lung, weight, 35.0)
    inner = ndimage.distance_transform_edt(lung & (weight > 0), sampling=chest.lungs.spacing) > 4
    gas = lowest(np.broadcast_to(axes[1], hu.shape), inner, min(0.85, random.uniform(40, 120) / (inner.sum() * ml)))
    hu[inner & (gas > 0)], truth[lung & (weight > 0)] = -985, 0


def draw_haze(chest: Phantom, hu: NDArray, truth: NDArray, random: np.random.Generator) -> None:
    """Make half a lung hazy in every second phantom; all have the patches of the phantom's own haze."""
    if random.random() < 0.5:
        score = random.choice([-1, 1]) * positions(chest)[0] + wavy(chest, random)
        lung = truth == random.integers(1, 3)
        make_dense(chest, hu, lung, lowest(score, lung, 0.5, 10.0), random.uniform(-600, -300))


def positions(chest: Phantom) -> list[NDArray]:
    """Give z, y and x of the voxels, mm, to the head, back and left; they broadcast."""
    grid = zip(np.ogrid[*map(slice, chest.lungs.shape)], chest.lungs.spacing, strict=True)
    return [axis * np.float32(s) for axis, s in grid]


def wavy(chest: Phantom, random: np.random.Generator) -> NDArray:
    """Give a smooth field of some millimeters, so that no border is a plane."""
    return sum(4 * np.sin(axis / random.uniform(15, 30) + random.uniform(0, 6)) for axis in positions(chest))


def lowest(score: NDArray, lung: NDArray, share: float, ramp: float = PIXEL_MM) -> NDArray:
    """Weigh the share of a lung with the lowest scores: 0 at its limit, 1 from `ramp` below it on."""
    return np.clip((np.quantile(score[lung], share) - score) / np.float32(ramp), 0, 1)


def make_dense(chest: Phantom, hu: NDArray, lung: NDArray, weight: NDArray, value: float) -> None:
    """Blend a value into a lung, and into voxels that are lung in part; denser tissue remains, as vessels do."""
    other = chest.lungs.array | chest.airways.array | chest.bowel.array
    where = lung | (ndimage.binary_dilation(lung) & (other == 0) & (hu < -200))
    hu[where] += (weight * np.maximum(value - hu, 0))[where]


def print_tables(rows: list[dict]) -> None:
    """Print a line per kind; then the measurements of healthy phantoms, and of bad masks that are not told."""
    print("\nworst Dice    number  median   worst     bad   alarm   cause  alarm, not bad")
    for kind in dict.fromkeys(row["kind"] for row in rows):
        group = [row for row in rows if row["kind"] == kind]
        worst, alarm, told = np.array([(min(row["dice"]), row["alarm"], row["told"]) for row in group]).T
        bad = worst < BAD
        counts = "".join(f"{cases.sum():8.0f}" for cases in (bad, bad * alarm, bad * told, alarm * ~bad))
        print(f"{kind:12s}{len(group):8d}{np.median(worst):8.3f}{worst.min():8.3f}{counts}")
    untold = [row for row in rows if min(row["dice"]) < BAD and not row["told"]]
    print(f"\n{'':24s}{'healthy':>20s}" + "".join(f"{row['kind'][:8] + ' ' + str(row['seed']):>12s}" for row in untold))
    for name in rows[-1]["figures"]:
        healthy = [row["figures"][name] for row in rows if row["kind"] == "healthy"]
        cells = "".join(f"{row['figures'].get(name, np.nan):12.3f}" for row in untold)
        print(f"{name:24s}{f'{min(healthy):.3f} to {max(healthy):.3f}':>20s}{cells}")


KINDS = {
    "lobe": (draw_lobe, {"dense-lung-missing", "missed-lung"}),
    "dependent": (draw_dependent, {"dense-lung-missing", "missed-lung"}),
    "pneumothorax": (draw_pneumothorax, {"gas-included", "not-lung"}),
    "hernia": (draw_hernia, {"gas-included", "organ-included"}),
    "haze": (draw_haze, {"dense-lung-missing", "missed-lung"}),
    "healthy": (lambda *_: None, ALARMS),
}  # how each disease is drawn, and the alarms that name it

if __name__ == "__main__":
    main()
