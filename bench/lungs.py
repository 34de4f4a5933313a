"""How right each lung method is, and what it costs: Dice, surface distances, nodules kept, time.

    python bench/lungs.py [--seeds 8] [--spacings 0.8 2.5 8] [--methods hilum tutorial3d] [--ill] [--json FILE]
    python bench/lungs.py --data ../shared/data [--annotations annotations.csv]

Without --data, over phantoms of random disease, noise and field of view, with four nodules on the wall that count
with all of their balls, also with what lies in the wall (--ill: every phantom has every disease). With --data, over
every chest scan found in that folder: against a label map that lies beside it (named like *lung*.nrrd) where there is
one, and with the nodules of LIDC XML files beside the scan or of a LUNA16 csv. Per method: Dice of both lungs, of the
right and of the left, and the worst side's; normalized surface distance at 2 mm; 95 % Hausdorff distance, mm; the share
of the nodules' voxels inside the mask, and how many nodules are inside; masks that raise an alarm; time, and how many
plain copies of the volume it is. A method that tells no sides is parted at the body's middle for the sides' numbers.
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

import hilum
from hilum.ops.lungs.segment import METHODS, WITHOUT_SIDES
from hilum.ops.quality.agreement import compare_masks, nodule_coverage
from hilum.ops.quality.measure import ALARMS, measure, quality_notes
from hilum.phantom.chest import PhantomOptions, make_phantom

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT_FROM = 0.99
"""A nodule counts as kept with this share of its voxels inside the mask."""

WALL = 4
DISEASES = ("consolidation", "effusion", "emphysema", "haze")

FEWEST_SLICES, NARROWEST_MM = 8, 180.0
"""What is less is no chest, nor a block of one."""


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
    parser.add_argument("--annotations", type=Path, help="a LUNA16 csv; DATA/luna16/annotations.csv without it")
    parser.add_argument("--json", type=Path, help="write every row here")
    asked = parser.parse_args()
    cases = real_cases(asked.data, asked.annotations) if asked.data else phantom_cases(asked)
    rows = []
    for name, ct, truth, nodules in cases:
        for method in asked.methods:
            rows.append({"case": name, "method": method, **measured(ct, truth, nodules, method)})
            if asked.data:
                print(line(f"{name[-42:]} {method}", [rows[-1]]))
    if not rows:
        print("no chest scan found", file=sys.stderr)
        return 1
    table(rows)
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1))
    return 0


Case = tuple[str, hilum.Volume, hilum.Mask | None, hilum.Mask | None]


def phantom_cases(asked: argparse.Namespace) -> Iterator[Case]:
    """Chests of random disease and scanner, with their truth."""
    for number in range(asked.seeds):
        seed = asked.first + number
        random = np.random.default_rng(seed)
        disease = {name: bool(random.random() < 0.5) or asked.ill for name in DISEASES}
        options = PhantomOptions(
            nodules=("wall",) * WALL + ("vessel", "inside"),
            table=bool(random.random() < 0.8),
            field_of_view=bool(random.random() < 0.8),
            noise_hu=float(random.uniform(5, 60)),
            kernel=("standard", "soft", "sharp")[seed % 3],
            **disease,
        )
        spacing = asked.spacings[number % len(asked.spacings)]
        chest = make_phantom(seed=seed, spacing=(spacing, 1.2, 1.2), options=options)
        drawn = hilum.mask_nodules(chest.scan.ct.geometry, chest.scan.nodules[:WALL])
        told = "+".join(name for name, there in disease.items() if there) or "healthy"
        yield f"phantom {seed}, {spacing:g} mm, {told}", chest.scan.ct, chest.lungs, drawn


def real_cases(data: Path, annotations: Path | None) -> Iterator[Case]:
    """Every scan below a folder that can be read and is high enough."""
    table = annotations or data / "luna16" / "annotations.csv"
    files = Counter(p.parent for p in data.rglob("*") if p.is_file() and p.suffix.lower() in {"", ".dcm"})
    for path in sorted(folder for folder, count in files.items() if count >= FEWEST_SLICES):
        try:
            scan = hilum.read(path)
        except hilum.HilumError as refusal:
            print(f"passed over: {refusal}", file=sys.stderr)
            continue
        _, *wide = np.multiply(scan.ct.shape, scan.ct.spacing)
        if scan.ct.shape[0] < FEWEST_SLICES or min(wide) < NARROWEST_MM:
            continue
        maps = [found for found in path.parent.glob("*.nrrd") if "lung" in found.name.lower()]
        truth = label_map(maps[0], scan.ct) if maps else None
        yield str(path.relative_to(data)), scan.ct, truth, annotated(path, scan, table)


def label_map(path: Path, ct: hilum.Volume) -> hilum.Mask | None:
    """An expert's lungs: any label counts, and sides are told at the middle of the body."""
    found = hilum.read(path).ct
    if found.shape != ct.shape:
        return None
    return parted(hilum.Mask((found.array > 0).astype(np.uint8), ct.geometry), ct)


def annotated(path: Path, scan: hilum.Scan, table: Path) -> hilum.Mask | None:
    """The nodules of a LIDC XML in or beside the folder, or of the csv."""
    for source in [*sorted(path.glob("*.xml")), *sorted(path.parent.glob("*.xml")), table]:
        try:
            read = hilum.read(path, annotations=source)
        except hilum.HilumError:
            continue
        if read.nodules:
            return hilum.mask_nodules(scan.ct.geometry, read.nodules)
    return None


def parted(mask: hilum.Mask, ct: hilum.Volume) -> hilum.Mask:
    """Sides for a mask that has none: right and left of the middle of all that is solid."""
    solid = np.argwhere(ct.array[::4, ::4, ::4] > -300) * 4
    middle = ct.geometry.index_to_world(solid)[:, 0].mean() if solid.size else 0.0
    x = ct.geometry.index_to_world(np.stack(np.meshgrid(*(np.arange(n) for n in ct.shape), indexing="ij"), -1))[..., 0]
    return hilum.Mask(np.where(mask.array > 0, np.where(x < middle, 1, 2), 0).astype(np.uint8), mask.geometry)


def measured(ct: hilum.Volume, truth: hilum.Mask | None, nodules: hilum.Mask | None, method: str) -> dict:
    """One method on one scan."""
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
    judged = time.perf_counter() - started
    notes = [note.code for note in quality_notes(figures)]
    row = {"seconds": min(seconds), "copies": min(seconds) / copied, "verdict": judged / min(seconds), "notes": notes}
    row["ml"] = [mask.volume_ml(1), mask.volume_ml(2)]
    if truth is not None:
        told = mask if sides else parted(mask, ct)
        for name, label in (("both", None), ("right", 1), ("left", 2)):
            found = compare_masks(told, truth, label=label)
            row |= {f"dice_{name}": found.dice, f"nsd_{name}": found.nsd, f"hd95_{name}": found.hd95_mm}
    if nodules is not None:
        row["nodules"] = [share for share in nodule_coverage(mask, nodules) if share == share]  # noqa: PLR0124 - not NaN
    return row


COLUMNS = ("dice_both", "dice_right", "dice_left", "nsd_both", "nsd_right", "nsd_left", "hd95_both")


def table(rows: list[dict]) -> None:
    """A line per method: means, and the worst Dice."""
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
    judged = [row for row in group if "dice_both" in row]
    means = {key: float(np.mean([row[key] for row in judged])) if judged else np.nan for key in COLUMNS}
    worst = min((min(row["dice_right"], row["dice_left"]) for row in judged), default=np.nan)
    shares = [share for row in group for share in row.get("nodules", [])]
    cells = [f"{means[key]:.4f}" for key in COLUMNS[:3]] + [f"{worst:.4f}"]
    cells += [f"{means[key]:.4f}" for key in COLUMNS[3:6]] + [f"{means['hd95_both']:.2f}"]
    cells += [f"{np.mean(shares):.4f}" if shares else "nan"]
    cells += [f"{sum(share >= KEPT_FROM for share in shares)}/{len(shares)}"]
    cells += [f"{sum(not ALARMS.isdisjoint(row['notes']) for row in group)}/{len(group)}"]
    cells += [
        f"{np.median([row['seconds'] for row in group]):.3f}",
        f"{np.median([row['copies'] for row in group]):.0f}",
    ]
    return f"{name:56s}" + "".join(f"{'-' if cell == 'nan' else cell:>9s}" for cell in cells)


if __name__ == "__main__":
    sys.exit(main())
