"""What each constant and each step of hilum's lung method is worth, over phantoms and real series.

    python bench/ablation.py [--data ../shared/data] [--only NAME ...] [--seeds 4]

A constant is moved by 25 % both ways, one number of a table after the other; a step is left out. Prints per change: the
change of the mean Dice against the truth (phantoms, and real series with contours), of the solid lumps in the masks of
all real series, of the share of the phantoms' wall nodules inside the mask, and the agreement with the masks of the
unchanged method. A constant whose changes are all 0 is worth nothing.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import lungs as measured
import numpy as np
import real_lungs

import hilum
from hilum._kernels.bitmask.mask import BitMask
from hilum.ops.quality.agreement import compare_masks, nodule_coverage
from hilum.ops.reorient import reorient
from hilum.phantom import PhantomOptions, make_phantom

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from hilum.ops.lungs.cells import LungCells

MODULES = ("ops.gas", *(f"ops.lungs.{name}" for name in (
    "cells", "chest", "sides", "trachea", "borders", "hilum_method", "wall_nodules")))  # fmt: skip
FACTORS = (0.75, 1.25)
DISEASES = ({}, {"emphysema": True, "haze": True}, {"effusion": True, "consolidation": True}, {"mass": True})
WALL = 3


class Judgment(NamedTuple):
    """Mean Dice of each lung with a truth, lumps in ml, share of the nodules inside, agreement with the first masks."""

    dice: float
    lumps: float
    nodules: float
    same: float


def no_nodules(*_: object, **__: object) -> list[np.ndarray]:
    return [np.zeros((0, 4))] * 2


def no_masses(cells: LungCells) -> tuple[np.ndarray, list[np.ndarray]]:
    return np.zeros_like(cells.labels), no_nodules()


STEPS = (
    ("walled gas starts a region", "ops.lungs.cells", "find_walled_gas", lambda cells, _: BitMask.empty(cells.shape)),
    ("trachea", "ops.lungs.cells", "find_airway", lambda *_: np.zeros((0, 3), np.int32)),
    ("ribs beside a lung", "ops.lungs.sides", "_has_ribs", lambda _, runs, __: np.ones(runs.number, bool)),
    ("ground-glass", "ops.lungs.cells", "find_ground_glass", lambda _, labels, __: np.zeros_like(labels)),
    ("organs", "ops.lungs.cells", "find_organs", lambda cells, _: BitMask.empty(cells.shape)),
    ("contact between lungs", "ops.lungs.hilum_method", "_split_contact", lambda *_, **__: None),
    ("closing of dents", "ops.lungs.hilum_method", "_close", lambda lung, *_: lung),
    ("nodules at the wall", "ops.lungs.hilum_method", "find_nodules", no_nodules),
    ("masses at the wall", "ops.lungs.hilum_method", "find_masses", no_masses),
    ("fragments", "ops.lungs.hilum_method", "_without_fragments", lambda mask, _: mask),
)
"""Name of each step, its module and function, and what stands in its place."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a folder of real scans")
    parser.add_argument("--only", nargs="*", help="names of constants")
    parser.add_argument("--seeds", type=int, default=4)
    arguments = parser.parse_args()
    cases = phantoms(arguments.seeds)
    cases += [(*case, None) for case in measured.real_series(arguments.data)] if arguments.data else []
    first = [hilum.segment_lungs(ct) for _, ct, *_ in cases]
    lumps = [lumps_of(case, mask) for case, mask in zip(cases, first, strict=True)]
    before = judge(cases, first, first, lumps)
    print(f"{'constant or step':38s} {'value':>28s} {'Dice':>8s} {'lumps ml':>8s} {'nodules':>8s} {'same':>7s}")
    print(f"{'unchanged':38s} {'':>28s} {before.dice:8.4f} {before.lumps:8.1f} {before.nodules:8.4f}")
    for module, name, moved, title in all_changes(arguments.only):
        value = getattr(module, name)
        setattr(module, name, moved)
        try:
            after = judge(cases, [hilum.segment_lungs(ct) for _, ct, *_ in cases], first, lumps)
        finally:
            setattr(module, name, value)
        row = [new - old for new, old in zip(after[:3], before[:3], strict=True)]
        shown = "left out" if callable(moved) else text_of(moved)
        print(f"{title:38s} {shown:>28s} {row[0]:+8.4f} {row[1]:+8.1f} {row[2]:+8.4f} {after.same:7.4f}", flush=True)
    return 0


def all_changes(only: list[str] | None) -> Iterator[tuple[ModuleType, str, object, str]]:
    """Module, name, changed value and title of each step and constant."""
    for title, module_name, name, other in STEPS:
        if not only:
            yield importlib.import_module(f"hilum.{module_name}"), name, other, title
    for module_name in MODULES:
        module = importlib.import_module(f"hilum.{module_name}")
        for name, value in sorted(vars(module).items()):
            if name.isupper() and (not only or name in only) and is_defined_in(module, name):
                yield from ((module, name, moved, f"{module_name[4:]}.{name}") for moved in changes(value))


def is_defined_in(module: ModuleType, name: str) -> bool:
    """Tell whether a module defines a constant, and does not only import it."""
    lines = Path(str(module.__file__)).read_text().splitlines()
    return any(name in line.split(" = ")[0].split(", ") for line in lines if " = " in line)


def changes(value: object) -> list[object]:
    """A number moved both ways; a table with each number in it moved both ways."""
    if isinstance(value, bool) or not isinstance(value, int | float | tuple):
        return []
    if not isinstance(value, tuple):
        return [type(value)(round(value * f)) if isinstance(value, int) else round(value * f, 4) for f in FACTORS]
    make = type(value)._make if hasattr(value, "_fields") else tuple
    return [make((*value[:k], moved, *value[k + 1 :])) for k, part in enumerate(value) for moved in changes(part)]


def text_of(value: object) -> str:
    """A changed value in a table."""
    text = ", ".join(text_of(part) for part in value) if isinstance(value, tuple) else f"{value}"
    return text if len(text) <= 28 else text[:25] + "..."


Case = tuple[str, hilum.Volume, "hilum.Mask | None", "hilum.Mask | None"]


def phantoms(seeds: int) -> list[Case]:
    """Phantoms with their lungs and the spheres of their wall nodules."""
    cases: list[Case] = []
    for seed in range(seeds):
        options = PhantomOptions(nodules=("wall",) * WALL, **DISEASES[seed % 4])
        chest = make_phantom(seed=seed, spacing=((1.5, 2.5, 5.0, 8.0)[seed % 4], 1.6, 1.6), options=options)
        nodules = hilum.mask_nodules(chest.scan.ct.geometry, chest.scan.nodules[:WALL])
        cases.append((f"phantom {seed}", chest.scan.ct, chest.lungs, nodules))
    return cases


def lumps_of(case: Case, mask: hilum.Mask) -> float:
    """Solid lumps in the mask of a real series, ml."""
    name, ct, *_ = case
    if name.startswith("phantom"):
        return 0.0
    oriented = reorient(ct)
    labels = reorient(hilum.Volume(mask.array, ct.geometry)).array
    return real_lungs.lumps(oriented.array, labels > 0, oriented.spacing)["lumps"]


def judge(cases: list[Case], masks: list[hilum.Mask], first: list[hilum.Mask], lumps: list[float]) -> Judgment:
    """Judge the masks of all cases."""
    dice, same, inside, solid = [], [], [], []
    for case, mask, other, known in zip(cases, masks, first, lumps, strict=True):
        _, _, truth, nodules = case
        total = np.count_nonzero(mask.array) + np.count_nonzero(other.array)
        agree = np.count_nonzero((mask.array == other.array) & (mask.array > 0))
        same.append(2 * agree / total if total else 1.0)
        solid.append(known if same[-1] == 1 else lumps_of(case, mask))
        if truth is not None:
            dice += [compare_masks(mask, truth, label=label).dice for label in (1, 2)]
        if nodules is not None:
            inside += [share for share in nodule_coverage(mask, nodules) if share == share]  # noqa: PLR0124 - not NaN
    return Judgment(float(np.mean(dice)), sum(solid), float(np.mean(inside)), float(np.mean(same)))


if __name__ == "__main__":
    sys.exit(main())
