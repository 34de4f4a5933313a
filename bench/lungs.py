"""Accuracy and cost of each lung method: Dice, surface distances, nodules inside the mask, time.

    python bench/lungs.py [--seeds 8] [--spacings 0.8 2.5 8] [--methods hilum tutorial3d] [--ill] [--json FILE]
    python bench/lungs.py --data ../shared/data [--draw FOLDER] [--only NAME ...]

Without --data: phantoms of random disease, noise and field of view, with four wall nodules, which count with their
whole spheres, also the part inside the wall (--ill: every phantom has every disease). Per method: Dice of both lungs,
right and left lung, and the worst side; normalized surface distance at 2 mm; 95 % Hausdorff distance, mm; the fraction
of the nodules' voxels inside the mask, and the number of nodules inside; masks with an alarm; time, in seconds and in
copies of the volume. Masks of methods without sides are split at the middle of the body.

With --data: the measurements of `real_lungs` for every chest series of that folder, and, with contours, the Dice of the
tutorial's method at -320 and -200 HU. --draw writes a sheet of outlines per series.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import real_lungs

import hilum
from hilum.ops.lungs.segment import METHODS, WITHOUT_SIDES
from hilum.ops.quality.agreement import compare_masks, nodule_coverage
from hilum.ops.quality.measure import ALARMS, measure, quality_notes
from hilum.phantom import PhantomOptions, make_phantom

if TYPE_CHECKING:
    from collections.abc import Iterator

INSIDE_FROM = 0.99
"""A nodule counts as inside the mask with this fraction of its voxels."""

WALL = 4
DISEASES = ("consolidation", "effusion", "emphysema", "haze")

MIN_SLICES, MIN_WIDTH_MM = 8, 180.0
"""Smaller scans do not show a chest."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument(
        "--spacings", type=float, nargs="*", default=[1.0, 2.5, 5.0, 8.0], help="of slices, mm; in turn"
    )
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    parser.add_argument("--ill", action="store_true", help="every phantom has every disease")
    parser.add_argument("--data", type=Path, help="a folder of real scans")
    parser.add_argument("--draw", type=Path, help="write a sheet of outlines of each series here")
    parser.add_argument("--only", nargs="*", help="names of series")
    parser.add_argument("--json", type=Path, help="write every row here")
    arguments = parser.parse_args()
    rows = measure_real(arguments) if arguments.data else measure_phantoms(arguments)
    if not rows:
        print("no chest scan found", file=sys.stderr)
        return 1
    if not arguments.data:
        table(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1, default=float))
    return 0


def measure_phantoms(arguments: argparse.Namespace) -> list[dict]:
    """Measure every method on phantoms."""
    return [
        {"case": name, "method": method, **measure_method(ct, truth, nodules, method)}
        for name, ct, truth, nodules in phantom_cases(arguments)
        for method in arguments.methods
    ]


def measure_real(arguments: argparse.Namespace) -> list[dict]:
    """Measure hilum's method on every real series, print a line, and draw a sheet."""
    rows = []
    for name, ct, truth in real_series(arguments.data):
        if arguments.only and name not in arguments.only:
            continue
        row, mask = real_lungs.measure_series(ct, truth)
        if truth is not None:
            for limit in (-320, -200):  # the tutorial's threshold is -320 HU
                moved = hilum.Volume(
                    np.clip(ct.array.astype(int) - limit - 320, -32768, 32767).astype(np.int16), ct.geometry
                )
                pocket = hilum.segment_lungs(moved, method="tutorial3d")
                both = hilum.Mask((truth.array > 0).astype(np.uint8), truth.geometry)
                row[f"tutorial_{-limit}"] = compare_masks(pocket, both).dice
        print(real_lungs.line(name, row), flush=True)
        if other := other_truth(name, ct, arguments.data):
            dice = [compare_masks(mask, other, label=label).dice for label in (None, 1, 2)]
            print(f"    against the label map beside it: Dice {dice[0]:.4f}, right {dice[1]:.4f}, left {dice[2]:.4f}")
        if arguments.draw:
            arguments.draw.mkdir(parents=True, exist_ok=True)
            path = arguments.draw / f"{name.replace('/', '_')[-60:]}.png"
            real_lungs.draw_sheet(ct, mask, path, f"{name}: {' '.join(row['alarms']) or 'no alarm'}", truth)
        rows.append({"case": name, **row})
    return rows


Case = tuple[str, hilum.Volume, hilum.Mask | None, hilum.Mask | None]


def phantom_cases(arguments: argparse.Namespace) -> Iterator[Case]:
    """Make phantoms of random disease and scanner, with their truth."""
    for number in range(arguments.seeds):
        seed = arguments.first + number
        random = np.random.default_rng(seed)
        disease = {name: bool(random.random() < 0.5) or arguments.ill for name in DISEASES}
        options = PhantomOptions(
            nodules=("wall",) * WALL + ("vessel", "inside"),
            table=bool(random.random() < 0.8),
            field_of_view=bool(random.random() < 0.8),
            noise_hu=float(random.uniform(5, 60)),
            kernel=("standard", "soft", "sharp")[seed % 3],
            **disease,
        )
        spacing = arguments.spacings[number % len(arguments.spacings)]
        chest = make_phantom(seed=seed, spacing=(spacing, 1.2, 1.2), options=options)
        wall_nodules = hilum.mask_nodules(chest.scan.ct.geometry, chest.scan.nodules[:WALL])
        diseases = "+".join(name for name, present in disease.items() if present) or "healthy"
        yield f"phantom {seed}, {spacing:g} mm, {diseases}", chest.scan.ct, chest.lungs, wall_nodules


def real_series(data: Path) -> Iterator[tuple[str, hilum.Volume, hilum.Mask | None]]:
    """Read every chest series of a folder, as DICOM or NIfTI, with an expert's lungs where a label map is beside it."""
    folders = Counter(p.parent for p in data.rglob("*") if p.is_file() and p.suffix.lower() in {"", ".dcm"})
    files = [p for p in data.rglob("*.nii.gz") if p.name.count(".") == 2]
    maps = [p for p in data.rglob("*") if p.name.endswith((".nrrd", ".nii.gz")) and "lung" in p.name.lower()]
    for path in sorted([*(folder for folder, count in folders.items() if count >= MIN_SLICES), *files]):
        try:
            ct = hilum.read(path).ct
        except hilum.HilumError as refusal:
            print(f"skipped: {refusal}", file=sys.stderr)
            continue
        name = path.name.removesuffix(".nii.gz") if path.is_file() else str(path.relative_to(data))
        small = ct.shape[0] < MIN_SLICES or min(np.multiply(ct.shape, ct.spacing)[1:]) < MIN_WIDTH_MM
        if small and not name.startswith("no-chest"):
            continue
        truth = structure_set(path, ct) if path.name in CONTOURS else None
        yield name, ct, truth or next(filter(None, (label_map(p, ct) for p in maps if belongs(p, path, data))), None)


def other_truth(name: str, ct: hilum.Volume, data: Path) -> hilum.Mask | None:
    """The label map of a series whose truth is a structure set."""
    paths = [path for path in data.rglob("*") if path.name == CONTOURS.get(Path(name).name)]
    return label_map(paths[0], ct) if paths else None


def structure_set(folder: Path, ct: hilum.Volume) -> hilum.Mask | None:
    """Fill the contours of ``Lung R`` and ``Lung L`` of the structure set in a folder."""
    found = list_structures([folder])
    if not found:
        return None
    regions = (("Lung R", "right"), ("Lung L", "left"))
    scan = hilum.attach_labels(hilum.read(folder), [hilum.LabelFile(found[0], "rtstruct", regions=regions)])
    right, left = (scan.label_maps[name].mask.array for name in ("right", "left"))
    return hilum.Mask(np.where(right > 0, 1, np.where(left > 0, 2, 0)).astype(np.uint8), ct.geometry)


def list_structures(folders: list[Path]) -> list[Path]:
    """The DICOM structure sets in folders."""
    read = partial(pydicom.dcmread, stop_before_pixels=True, specific_tags=["Modality"], force=True)
    files = [path for folder in folders for path in sorted(folder.iterdir()) if path.suffix == ".dcm"]
    return [path for path in files if read(path).get("Modality") == "RTSTRUCT"]


def belongs(labels: Path, scan: Path, data: Path) -> bool:
    """Tell whether a label map is a scan's: it starts with its name, or lies beside its folder."""
    if scan.is_file():
        return labels.name.startswith(scan.name.removesuffix(".nii.gz") + ".lungs")
    return labels.parent == scan.parent != data or labels.name == CONTOURS.get(scan.name)


CONTOURS = {"nsclc-LUNG1-002": "chest-tumor-3mm.lungs.nii.gz"}
"""Label maps that do not have the name of their scan. This one was filled by another program, which left five slices of
the left lung empty: the structure set has their contour twice. So the structure set is the truth, and the label map is
compared with as well."""


def label_map(path: Path, ct: hilum.Volume) -> hilum.Mask | None:
    """Read an expert's lungs; sides are split at the middle of the body where there is one label, or many."""
    labels = hilum.read(path).ct
    if labels.shape != ct.shape:
        return None
    array = labels.array.astype(np.uint8) if set(np.unique(labels.array)) == {0, 1, 2} else None
    mask = hilum.Mask((labels.array > 0).astype(np.uint8) if array is None else array, ct.geometry)
    return split(mask, ct) if array is None else mask


def split(mask: hilum.Mask, ct: hilum.Volume) -> hilum.Mask:
    """Split a mask into right and left at the middle of the solid voxels."""
    solid = np.argwhere(ct.array[::4, ::4, ::4] > -300) * 4
    middle = ct.geometry.index_to_world(solid)[:, 0].mean() if solid.size else 0.0
    x = ct.geometry.index_to_world(np.stack(np.meshgrid(*(np.arange(n) for n in ct.shape), indexing="ij"), -1))[..., 0]
    return hilum.Mask(np.where(mask.array > 0, np.where(x < middle, 1, 2), 0).astype(np.uint8), mask.geometry)


def measure_method(ct: hilum.Volume, truth: hilum.Mask | None, nodules: hilum.Mask | None, method: str) -> dict:
    """Measure one method on one scan."""
    seconds = []
    for _ in range(2):  # the first turn may compile
        started = time.perf_counter()
        mask = hilum.segment_lungs(ct, method=method)
        seconds.append(time.perf_counter() - started)
    started = time.perf_counter()
    ct.array.copy()
    copied = time.perf_counter() - started
    sides = method not in WITHOUT_SIDES
    started = time.perf_counter()
    figures = measure(ct, mask, None, sides=sides)
    judging = time.perf_counter() - started
    notes = [note.code for note in quality_notes(figures)]
    row = {
        "seconds": min(seconds),
        "copies": min(seconds) / copied,
        "verdict": judging / min(seconds),
        "notes": notes,
    }
    row["ml"] = [mask.volume_ml(1), mask.volume_ml(2)]
    if truth is not None:
        sided = mask if sides else split(mask, ct)
        for name, label in (("both", None), ("right", 1), ("left", 2)):
            result = compare_masks(sided, truth, label=label)
            row |= {f"dice_{name}": result.dice, f"nsd_{name}": result.surface_dice, f"hd95_{name}": result.hd95_mm}
    if nodules is not None:
        row["nodules"] = [f for f in nodule_coverage(mask, nodules) if f == f]  # noqa: PLR0124 - not NaN
    return row


COLUMNS = ("dice_both", "dice_right", "dice_left", "nsd_both", "nsd_right", "nsd_left", "hd95_both")


def table(rows: list[dict]) -> None:
    """Print a line per method: means, and the worst Dice."""
    methods = defaultdict(list)
    for row in rows:
        methods[row["method"]].append(row)
    heads = (
        "Dice",
        "right",
        "left",
        "worst",
        "NSD2",
        "right",
        "left",
        "HD95",
        "nodules",
        "kept",
        "alarms",
        "s",
        "copies",
    )
    print(
        f"\n{'mean over ' + str(len(rows) // len(methods)) + ' scans':56s}" + "".join(f"{head:>9s}" for head in heads)
    )
    for method, group in methods.items():
        print(line(method, group))


def line(name: str, group: list[dict]) -> str:
    with_truth = [row for row in group if "dice_both" in row]
    means = {key: float(np.mean([row[key] for row in with_truth])) if with_truth else np.nan for key in COLUMNS}
    worst = min((min(row["dice_right"], row["dice_left"]) for row in with_truth), default=np.nan)
    fractions = [fraction for row in group for fraction in row.get("nodules", [])]
    cells = [f"{means[key]:.4f}" for key in COLUMNS[:3]] + [f"{worst:.4f}"]
    cells += [f"{means[key]:.4f}" for key in COLUMNS[3:6]] + [f"{means['hd95_both']:.2f}"]
    cells += [f"{np.mean(fractions):.4f}" if fractions else "nan"]
    cells += [f"{sum(fraction >= INSIDE_FROM for fraction in fractions)}/{len(fractions)}"]
    cells += [f"{sum(not ALARMS.isdisjoint(row['notes']) for row in group)}/{len(group)}"]
    cells += [
        f"{np.median([row['seconds'] for row in group]):.3f}",
        f"{np.median([row['copies'] for row in group]):.0f}",
    ]
    return f"{name:56s}" + "".join(f"{'-' if cell == 'nan' else cell:>9s}" for cell in cells)


if __name__ == "__main__":
    sys.exit(main())
