"""How many wrong lung masks does hilum flag? Phantoms with disease; half of their masks are spoiled.

    python bench/selfcheck.py [--number 200] [--seed 0] [--kinds tuned|held-out|all] [--only NAME ...]
                              [--scan FOLDER ...] [--json FILE]

A mask is wrong if its Dice against the truth is below 0.9, for both lungs together or for one, and right otherwise. It
is flagged if one of its notes is an alarm (`hilum.ops.quality.measure.ALARMS`). A spoiler that leaves the mask right is
applied again. With --scan the masks of real scans, which look right, are spoiled in every way. Prints a line per kind.
Exits 1 if fewer than 95 % of the wrong masks or more than 5 % of the right masks are flagged.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import lung_spoilers
from lung_spoilers import Chest

import hilum
from hilum.ops.quality.measure import ALARMS, measure, quality_notes
from hilum.ops.reorient import reorient
from hilum.phantom import PhantomOptions, make_phantom

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = {
    "tuned": lung_spoilers.TUNED,
    "held-out": lung_spoilers.HELD_OUT,
    "all": lung_spoilers.TUNED + lung_spoilers.HELD_OUT,
}
RIGHT_FROM = 0.9
MIN_WRONG_FLAGGED, MAX_RIGHT_FLAGGED = 0.95, 0.05


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", choices=sorted(KINDS), default="all")
    parser.add_argument("--only", nargs="*", help="names of spoilers")
    parser.add_argument("--scan", type=Path, nargs="*", default=[], help="folders or files of chest scans")
    parser.add_argument("--json", type=Path, help="write the measurements of every mask here")
    arguments = parser.parse_args()
    kinds = tuple(kind for kind in KINDS[arguments.kinds] if not arguments.only or kind.__name__ in arguments.only)
    if not kinds:
        parser.error("no such spoiler")
    rows = real_rows(arguments.scan, kinds, arguments.seed) if arguments.scan else phantom_rows(arguments, kinds)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))
    return show(rows)


def phantom_rows(arguments: argparse.Namespace, kinds: tuple[Callable, ...]) -> list[dict]:
    """Judge masks of phantoms, one right and one spoiled in turn."""
    rows = []
    for number in range(arguments.number):
        random = np.random.default_rng([arguments.seed, number])
        chest, name = draw(random)
        spoiler = kinds[number // 2 % len(kinds)] if number % 2 else None
        rows.append(row(chest, spoiler, random, name))
        progress(number + 1, arguments.number)
    return rows


def draw(random: np.random.Generator) -> tuple[tuple[hilum.Volume, hilum.Mask, Chest], str]:
    """Draw a phantom of random disease, slice thickness and noise, sometimes cropped."""
    disease = {name: bool(random.random() < 0.3) for name in ("consolidation", "effusion", "emphysema")}
    options = PhantomOptions(
        table=bool(random.random() < 0.8),
        field_of_view=bool(random.random() < 0.7),
        noise_hu=float(random.uniform(0, 70)),
        kernel=str(random.choice(["standard", "soft", "sharp"])),  # type: ignore[arg-type]
        **disease,
    )
    across = float(random.uniform(1.3, 2.4))
    spacing = (float(random.choice([1.5, 2.0, 3.0, 5.0, 8.0])), across, across)
    phantom = make_phantom(seed=int(random.integers(2**31)), spacing=spacing, options=options)
    start, stop = [0, 0, 0], list(phantom.scan.ct.shape)
    name = "+".join(k for k, v in disease.items() if v)
    if random.random() < 0.15:
        side = random.random() < 0.5
        cut = int(stop[0] * random.uniform(0.2, 0.4))
        start[0], stop[0] = (cut, stop[0]) if side else (0, stop[0] - cut)
        name += " cropped"
    ct, truth, bowel, airways = (
        part.crop(start, stop) for part in (phantom.scan.ct, phantom.lungs, phantom.bowel, phantom.airways)
    )
    return (ct, truth, Chest(ct.array, truth.array, bowel.array, airways.array, ct.spacing)), name.strip() or "healthy"


def real_rows(paths: list[Path], kinds: tuple[Callable, ...], seed: int) -> list[dict]:
    """Judge masks of real scans, as they are and spoiled in every way."""
    rows = []
    for path in paths:
        ct = reorient(hilum.read(path).ct)
        mask = hilum.segment_lungs(ct)
        none = np.zeros_like(mask.array)
        chest = Chest(ct.array, mask.array, none, none, ct.spacing)
        rows.append(row((ct, mask, chest), None, np.random.default_rng(seed), path.name))
        for k, spoiler in enumerate(kinds):
            if spoiler.__name__ not in NEED_TRUTH:
                rows.append(row((ct, mask, chest), spoiler, np.random.default_rng([seed, k]), path.name))
            progress(k + 1, len(kinds))
    return rows


NEED_TRUTH = {"only_bowel_and_trachea", "other_patient"}


def row(
    case: tuple[hilum.Volume, hilum.Mask, Chest], spoiler: Callable | None, random: np.random.Generator, name: str
) -> dict:
    """Spoil a mask until it is wrong, and judge it."""
    ct, truth, chest = case
    started = time.perf_counter()
    mask = hilum.segment_lungs(ct).array
    segmented = time.perf_counter()
    hu, labels = ct.array, mask
    if spoiler is not None:
        found = Chest(chest.hu, mask, chest.bowel, chest.airways, chest.spacing)
        for _ in range(8):
            hu, labels = spoiler(found, random)
            if worst_dice(labels, truth.array) < RIGHT_FROM:
                break
    labels = np.ascontiguousarray(labels, np.uint8)
    begun = time.perf_counter()
    figures = measure(hilum.Volume(hu, ct.geometry), hilum.Mask(labels, ct.geometry), None)
    notes = [note.code for note in quality_notes(figures)]
    ended = time.perf_counter()
    return {
        "kind": spoiler.__name__ if spoiler else f"as segmented: {name}",
        "chest": name,
        "spacing": ct.spacing,
        "dice": worst_dice(labels, truth.array),
        "notes": notes,
        "share_of_time": (ended - begun) / (segmented - started),
        "figures": figures,
    }


def worst_dice(labels: np.ndarray, truth: np.ndarray) -> float:
    """Give the lowest Dice of both lungs together, the right and the left."""
    pairs = [(labels > 0, truth > 0), (labels == 1, truth == 1), (labels == 2, truth == 2)]
    return min(2 * np.count_nonzero(a & b) / max(1, np.count_nonzero(a) + np.count_nonzero(b)) for a, b in pairs)


def show(rows: list[dict]) -> int:
    """Print a line per kind and the fractions of flagged masks."""
    kinds = defaultdict(list)
    for one in rows:
        one["wrong"] = one["dice"] < RIGHT_FROM
        one["flagged"] = not ALARMS.isdisjoint(one["notes"])
        kinds[one["kind"], one["wrong"]].append(one)
    print(f"{'kind':44s}{'mask':>7s}{'number':>8s}{'flagged':>9s}{'Dice':>14s}  notes")
    for (kind, wrong), group in sorted(kinds.items(), key=lambda item: (item[0][1], item[0][0])):
        dice = f"{min(one['dice'] for one in group):.3f}-{max(one['dice'] for one in group):.3f}"
        codes = Counter(code for one in group for code in one["notes"]).most_common(5)
        notes = ", ".join(f"{code} {count}" for code, count in codes)
        flagged = sum(one["flagged"] for one in group)
        print(f"{kind:44s}{'wrong' if wrong else 'right':>7s}{len(group):8d}{flagged:9d}{dice:>14s}  {notes}")
    wrong, right = ([one["flagged"] for one in rows if one["wrong"] == is_wrong] for is_wrong in (True, False))
    print(f"wrong masks flagged: {sum(wrong)} of {len(wrong)} ({np.mean(wrong or [1]):.1%})")
    print(f"right masks flagged: {sum(right)} of {len(right)} ({np.mean(right or [0]):.1%})")
    print(f"judging takes {np.median([one['share_of_time'] for one in rows]):.0%} of the method's time (median)")
    return 0 if np.mean(wrong or [1]) >= MIN_WRONG_FLAGGED and np.mean(right or [0]) <= MAX_RIGHT_FLAGGED else 1


def progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {total}", end="" if done < total else "\n", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
