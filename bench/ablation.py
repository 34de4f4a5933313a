"""What each constant of hilum's lung method is worth: moved by 25 % both ways, over phantoms and real series.

    python bench/ablation.py [--data ../shared/data] [--only NAME ...] [--seeds 4]

Prints per constant the change of the mean Dice against the truth (phantoms, and real series with contours), of the
solid lumps in the masks of all real series, and the agreement with the masks of the unchanged method. A constant whose
changes are all 0 is worth nothing. Numbers within a table are moved one by one.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

import lungs as measured
import numpy as np
import real_lungs

import hilum
from hilum.ops.quality.agreement import compare_masks
from hilum.ops.reorient import reorient
from hilum.phantom import PhantomOptions, make_phantom

MODULES = ("ops.gas", *(f"ops.lungs.{name}" for name in (
    "cells", "chest", "sides", "trachea", "borders", "hilum_method", "wall_nodules")))  # fmt: skip
FACTORS = (0.75, 1.25)
DISEASES = ({}, {"emphysema": True, "haze": True}, {"effusion": True, "consolidation": True}, {"mass": True})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a folder of real scans")
    parser.add_argument("--only", nargs="*", help="names of constants")
    parser.add_argument("--seeds", type=int, default=4)
    arguments = parser.parse_args()
    cases = [*phantoms(arguments.seeds), *(measured.real_series(arguments.data) if arguments.data else ())]
    first = [hilum.segment_lungs(ct) for _, ct, _ in cases]
    before = judge(cases, first, first)
    print(f"{'constant':34s} {'value':>10s} {'Dice':>9s} {'lumps ml':>9s} {'same':>7s}   unchanged: {before}")
    for module_name in MODULES:
        module = importlib.import_module(f"hilum.{module_name}")
        for name, value in sorted(vars(module).items()):
            if (
                not name.isupper()
                or (arguments.only and name not in arguments.only)
                or owner(module, name) != module_name
            ):
                continue
            for moved in changes(value):
                setattr(module, name, moved)
                try:
                    after = judge(cases, [hilum.segment_lungs(ct) for _, ct, _ in cases], first)
                finally:
                    setattr(module, name, value)
                dice, lumps = after[0] - before[0], after[1] - before[1]
                print(
                    f"{module_name[4:] + '.' + name:34s} {moved!s:>10s} {dice:+9.4f} {lumps:+9.1f} {after[2]:7.4f}",
                    flush=True,
                )
    return 0


def owner(module: object, name: str) -> str:
    """The module that defines a constant, and does not only import it."""
    lines = Path(module.__file__).read_text().splitlines()  # type: ignore[attr-defined]
    defined = any(
        line.split("=")[0].strip().split(", ").count(name) for line in lines if " = " in line and line[0] != " "
    )
    return module.__name__.removeprefix("hilum.") if defined else ""  # type: ignore[attr-defined]


def changes(value: object) -> list[object]:
    """A number moved both ways; a table of numbers with each number moved both ways."""
    if isinstance(value, bool) or not isinstance(value, int | float | tuple):
        return []
    if not isinstance(value, tuple):
        return [type(value)(round(value * f)) if isinstance(value, int) else round(value * f, 4) for f in FACTORS]
    if not all(isinstance(part, int | float) for part in value) or hasattr(value, "_fields"):
        return []
    return [(*value[:k], moved, *value[k + 1 :]) for k, part in enumerate(value) for moved in changes(part)]


def phantoms(seeds: int) -> list[tuple[str, hilum.Volume, hilum.Mask]]:
    chests = [
        make_phantom(
            seed=seed, spacing=((1.5, 2.5, 5.0, 8.0)[seed % 4], 1.6, 1.6), options=PhantomOptions(**DISEASES[seed % 4])
        )
        for seed in range(seeds)
    ]
    return [(f"phantom {seed}", chest.scan.ct, chest.lungs) for seed, chest in enumerate(chests)]


def judge(cases: list, masks: list[hilum.Mask], first: list[hilum.Mask]) -> tuple[float, float, float]:
    """Mean Dice where there is a truth, the sum of lumps, and the mean agreement with the first masks."""
    dice, lumps, same = [], 0.0, []
    for (name, ct, truth), mask, other in zip(cases, masks, first, strict=True):
        if truth is not None:
            dice.append(compare_masks(mask, truth).dice)
        if not name.startswith("phantom"):
            oriented = reorient(ct)
            labels = reorient(hilum.Volume(mask.array, ct.geometry)).array
            lumps += real_lungs.lumps(oriented.array, labels > 0, oriented.spacing)["lumps"]
        one, two = mask.array > 0, other.array > 0
        total = np.count_nonzero(one) + np.count_nonzero(two)
        same.append(2 * np.count_nonzero(one & two) / total if total else 1.0)
    return round(float(np.mean(dice)), 4), round(lumps, 1), round(float(np.mean(same)), 4)


if __name__ == "__main__":
    sys.exit(main())
