"""Compare hilum's LIDC-IDRI readings with what pylidc computed from the same files.

python bench/lidc_agreement.py REFERENCE.json ROOT... [--spheres annotations.csv] [--picture FOLDER]

ROOT is searched for CT series and XML; REFERENCE.json has pylidc's numbers by series. Prints for each reading: slices,
malignancy, volume and diameter by pylidc's definitions, filled voxels without and with the pixels of the outline; for
each nodule its consensus of one half. With LUNA16's csv each nodule is compared with the nearest sphere, and --picture
draws all of them. Exits 1 if a count differs, a volume or diameter differs by 1 %, or a mask by 3 %.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import hilum
from hilum.datasets import lidc
from hilum.io.annotations.luna import read_annotations
from hilum.ops.nodules.outlines import consensus_mask, reading_diameter_mm, reading_mask, reading_volume_mm3

if TYPE_CHECKING:
    from hilum.scan import Nodule, Scan


COLORS = ("cyan", "red", "yellow", "lime", "orange", "magenta")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reference", type=Path)
    parser.add_argument("roots", type=Path, nargs="+")
    parser.add_argument("--spheres", type=Path)
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    known = {
        scan["series_uid"]: (name, scan) for name, scan in json.loads(arguments.reference.read_text())["scans"].items()
    }
    refs = {ref.series_uid: ref for root in arguments.roots for ref in lidc.index(root).refs}
    good = True
    for uid, (name, scan) in known.items():
        if uid not in refs:
            print(f"{name}: missing")
            good = False
            continue
        ours = lidc.load(refs[uid])
        print(f"{name}, {ours.ct.shape[0]} slices")
        for note in ours.notes:
            print(f"  {note}")
        good &= compare(ours, scan["nodules"])
        if arguments.spheres:
            compare_with_spheres(ours, arguments.spheres, arguments.picture and arguments.picture / f"{name}.png")
    print("all within bounds" if good else "OUT OF BOUNDS")
    return 0 if good else 1


def compare(ours: Scan, theirs: list[dict[str, Any]]) -> bool:
    """Print both numbers, hilum's first, and check that all are within bounds."""
    good = len(ours.nodules) == len(theirs)
    print("  reader slices  malig.  volume mm3         diameter mm     voxels        with outline")
    for number, (nodule, other) in enumerate(zip(ours.nodules, theirs, strict=False), start=1):
        good &= len(nodule.readings) == other["readers"] == len(other["readings"])
        for reading, known in zip(nodule.readings, other["readings"], strict=False):
            slices = len(reading.contours) + len(reading.holes)
            malignancy = int(reading.scores["malignancy"])
            volume, diameter = reading_volume_mm3(reading), reading_diameter_mm(reading)
            inner = np.count_nonzero(reading_mask(reading).array)
            outer = np.count_nonzero(reading_mask(reading, contour_pixel="include").array)
            print(
                f"  {number}.{reading.reader}    {slices:3d} {known['contours']:3d}  {malignancy} {known['malignancy']}"
                f"  {volume:9.2f} {known['volume_mm3']:9.2f}  {diameter:6.3f} {known['diameter_mm']:6.3f}"
                f"  {inner:5d} {known['mask_voxels']:5d}  {outer:5d} {outer / inner - 1:+.0%}"
            )
            good &= (slices, malignancy) == (known["contours"], known["malignancy"])
            good &= is_close(volume, known["volume_mm3"], 0.01) and is_close(diameter, known["diameter_mm"], 0.01)
            good &= is_close(inner, known["mask_voxels"], 0.03)
        half = np.count_nonzero(consensus_mask(nodule).array)
        wide = np.count_nonzero(consensus_mask(nodule, contour_pixel="include").array)
        print(
            f"  {number}      consensus at 50 %: {half} {other['consensus50_voxels']}, with outlines {wide}"
            f" ({wide / half - 1:+.0%}); ball of {nodule.diameter_mm:.2f} mm"
        )
        good &= is_close(half, other["consensus50_voxels"], 0.03)
    return bool(good)


def is_close(value: float, known: float, tolerance: float) -> bool:
    return abs(value - known) <= tolerance * known


def compare_with_spheres(scan: Scan, table: Path, picture: Path | None) -> None:
    spheres, _ = read_annotations(table, series_uid=scan.series_uid)
    for nodule in scan.nodules if spheres else ():
        distances = [float(np.linalg.norm(np.subtract(s.center, nodule.center))) for s in spheres]
        sphere = spheres[int(np.argmin(distances))]
        shapes = {"LUNA16's sphere": sphere, "consensus": nodule}
        shapes |= {f"reader {r.reader}": replace(nodule, readings=(r,)) for r in nodule.readings}
        masks = {name: hilum.mask_nodules(scan.ct.geometry, [shape]) for name, shape in shapes.items()}
        if not all(mask.array.any() for mask in masks.values()):
            print(f"  a nodule at {round_all(nodule.center)} is outside the scan")
            continue
        print(
            f"  LUNA16: {round_all(sphere.center)}, {sphere.diameter_mm:.2f} mm, {min(distances):.2f} mm from the mean"
        )
        names = list(masks)
        print(f"  {'Dice':16s}" + "".join(f"{name[-9:]:>10s}" for name in names) + "   ml     center of mass")
        for name, mask in masks.items():
            row = "".join(f"{dice(mask, masks[other]):10.3f}" for other in names)
            middle = scan.ct.geometry.index_to_world(np.argwhere(mask.array).mean(axis=0))
            print(f"  {name:16s}{row}  {mask.volume_ml():.3f}  {round_all(middle)}")
        if picture:
            draw(scan, nodule, masks, picture)


def round_all(place: Any) -> tuple[float, ...]:
    return tuple(round(float(v), 2) for v in place)


def dice(one: hilum.Mask, other: hilum.Mask) -> float:
    both = np.count_nonzero((one.array > 0) & (other.array > 0))
    return 2 * both / (np.count_nonzero(one.array) + np.count_nonzero(other.array))


def draw(scan: Scan, nodule: Nodule, masks: dict[str, hilum.Mask], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    _, y, x = np.rint(scan.ct.geometry.world_to_index(nodule.center)).astype(int)
    around = (slice(y - 26, y + 26), slice(x - 26, x + 26))
    figure, axes = plt.subplots(2, 3, figsize=(15, 10))
    drawn = np.flatnonzero(sum(mask.array.any(axis=(1, 2)).astype(int) for mask in masks.values()))
    for axis, k in zip(axes.ravel(), np.rint(np.linspace(drawn[0], drawn[-1], 6)).astype(int), strict=True):
        axis.imshow(scan.ct.array[k][around], cmap="gray", vmin=-1000, vmax=400)
        for color, (name, mask) in zip(COLORS, masks.items(), strict=False):
            part = mask.array[k][around]
            if part.any():
                axis.contour(part, [0.5], colors=color, linewidths=2.5 if name == "consensus" else 1)
            axis.plot([], [], color=color, label=name)
        axis.set_title(f"slice {k}")
        axis.axis("off")
    axes[0, 0].legend(loc="lower left")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
