"""The measuring stick of lung masks on real scans; `bench/lungs.py --data` runs it.

Per scan and grid (the scan's own, and resampled to 1 mm): volume of each lung; with an expert's contours Dice, 95 %
Hausdorff distance and surface Dice at 2 mm of each side; and, without any truth,

* lumps: tissue above 0 HU into which a ball of 6 mm fits, ml, all and the largest (an organ, or a large tumor);
* pieces: components of each side;
* sheet: the largest part of one slice of which neither neighbor has anything, ml;
* outside: mask outside the body, ml;
* same: the Dice between both grids of each side;
* alarms, remarks, and the time in seconds.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from scipy import ndimage

import hilum
from hilum.ops.lungs.fallback import find_lungs
from hilum.ops.quality.agreement import compare_masks
from hilum.ops.quality.measure import ALARMS, quality_notes
from hilum.ops.reorient import reorient

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LUMP_MM = 6.0
BODY_MIN_HU = -400
SIDES = ((1, "right"), (2, "left"))


def measure_series(ct: hilum.Volume, truth: hilum.Mask | None, *, method: str = "hilum") -> tuple[dict, hilum.Mask]:
    """Measure the masks of one scan on both grids; also return the mask on the scan's own."""
    mask, row = measure_grid(ct, method)
    fine_ct = hilum.resample(ct, spacing=1.0)
    fine, fine_row = measure_grid(fine_ct, method)
    row |= {f"{name}_1mm": value for name, value in fine_row.items()}
    for label, side in SIDES:
        one, two = mask.array == label, at_centers(fine, label, ct)
        row[f"same_{side}"] = 2 * (one & two).sum() / max(1, one.sum() + two.sum()) if one.any() or two.any() else 1.0
    if truth is not None:
        for label, side in ((None, "both"), *SIDES):
            result = compare_masks(mask, truth, label=label)
            row |= {f"dice_{side}": result.dice, f"hd95_{side}": result.hd95_mm, f"nsd_{side}": result.surface_dice}
    return row, mask


def at_centers(mask: hilum.Mask, label: int, ct: hilum.Volume) -> NDArray[np.bool_]:
    """The voxels of another grid whose centers lie in a label, interpolated linearly."""
    corner = mask.geometry.world_to_index(ct.geometry.index_to_world(np.zeros((1, 3))))[0]
    out = (mask.array == label).astype(np.float32)
    for axis, (n, s, s0) in enumerate(zip(ct.shape, ct.spacing, mask.spacing, strict=True)):
        at = np.clip(corner[axis] + np.arange(n) * s / s0, 0, mask.shape[axis] - 1)
        low = np.minimum(at.astype(int), max(0, mask.shape[axis] - 2))
        weight = (at - low).reshape([-1 if k == axis else 1 for k in range(3)]).astype(np.float32)
        high = np.minimum(low + 1, mask.shape[axis] - 1)
        out = np.take(out, low, axis=axis) * (1 - weight) + np.take(out, high, axis=axis) * weight
    return out >= 0.5


def measure_grid(ct: hilum.Volume, method: str) -> tuple[hilum.Mask, dict]:
    """Segment the lungs as a run does, and measure the mask without truth."""
    started = time.perf_counter()
    result = find_lungs(ct, lambda volume: hilum.segment_lungs(volume, method=method), own=method == "hilum")
    seconds = time.perf_counter() - started
    oriented = reorient(hilum.Volume(result.mask.array, ct.geometry))
    hu, labels = reorient(ct).array, oriented.array
    notes = (*result.notes, *quality_notes(result.figures))
    return result.mask, {
        "ml": [result.mask.volume_ml(label) for label, _ in SIDES],
        "score": result.figures.get("lung_score", np.nan),
        **lumps(hu, labels > 0, oriented.spacing),
        "pieces": [int(ndimage.label(labels == label, np.ones((3, 3, 3)))[1]) for label, _ in SIDES],
        "sheet": sheet(labels > 0, oriented.spacing),
        "outside": outside(hu, labels > 0, oriented.spacing),
        "alarms": [note.code for note in notes if note.code in ALARMS or note.code.startswith("lungs-")],
        "remarks": [note.code for note in notes if note.code not in ALARMS and not note.code.startswith("lungs-")],
        "seconds": seconds,
    }


def lumps(hu: NDArray[np.int16], mask: NDArray[np.bool_], spacing: tuple[float, ...]) -> dict[str, float]:
    """Volume of the solid tissue of a mask that a ball of 6 mm fits into: in all, and of the largest lump."""
    where = ndimage.find_objects(mask.astype(np.uint8))
    if not where:
        return {"lumps": 0.0, "lump": 0.0}
    # Noise would divide an organ; a mean over some millimetres does not.
    part = ndimage.uniform_filter(hu[where[0]].astype(np.float32), [max(1, round(3 / s)) for s in spacing])
    solid = np.pad((part > 0) & mask[where[0]], 1)
    core = ndimage.distance_transform_edt(solid, sampling=spacing) >= LUMP_MM
    if not core.any():
        return {"lumps": 0.0, "lump": 0.0}
    opened = (ndimage.distance_transform_edt(~core, sampling=spacing) <= LUMP_MM) & solid
    labeled, _ = ndimage.label(opened)
    sizes = np.bincount(labeled.ravel())[1:] * np.prod(spacing) / 1000
    return {"lumps": float(sizes.sum()), "lump": float(sizes.max())}


def sheet(mask: NDArray[np.bool_], spacing: tuple[float, ...]) -> float:
    """The largest connected part of a slice that neither neighbor has, ml, the first and the last slice left out."""
    worst = 0
    for below, here, above in zip(mask[:-2], mask[1:-1], mask[2:], strict=True):
        alone = here & ~below & ~above
        if alone.any():
            worst = max(worst, int(np.bincount(ndimage.label(alone)[0].ravel())[1:].max()))
    return worst * float(np.prod(spacing)) / 1000


def outside(hu: NDArray[np.int16], mask: NDArray[np.bool_], spacing: tuple[float, ...]) -> float:
    """Mask outside the filled outline of the body, ml."""
    smooth = ndimage.uniform_filter(hu.astype(np.float32), [1, *(max(1, round(5 / s)) for s in spacing[1:])])
    labeled, number = ndimage.label(smooth > BODY_MIN_HU)
    if not number:
        return 0.0
    body = labeled == 1 + int(np.argmax(np.bincount(labeled.ravel())[1:]))
    # A chest wall that the field of view cuts is closed by the sides of the image.
    filled = np.stack([ndimage.binary_fill_holes(ndimage.binary_dilation(plane, iterations=2)) for plane in body])
    return float((mask & ~filled).sum() * np.prod(spacing) / 1000)


def draw_sheet(ct: hilum.Volume, mask: hilum.Mask, path: Path, title: str, truth: hilum.Mask | None = None) -> None:
    """Draw axial, coronal and sagittal planes with the outlines of both lungs, and of the contours."""
    mpl.use("Agg")
    oriented = reorient(ct)
    hu, spacing = oriented.array, oriented.spacing
    labels = reorient(hilum.Volume(mask.array, ct.geometry)).array
    known = reorient(hilum.Volume(truth.array, ct.geometry)).array if truth is not None else None
    seen = np.nonzero((labels > 0).any(axis=(1, 2)))[0] if labels.any() else np.array([0, len(hu) - 1])
    low, high = max(0, seen[0] - 3), min(len(hu) - 1, seen[-1] + 3)
    columns = 7
    figure, axes = plt.subplots(4, columns, figsize=(3.1 * columns, 12.4), facecolor="black")
    y_range, x_range = extent(labels, hu, 1), extent(labels, hu, 2)
    planes = [(0, k) for k in np.linspace(low, high, 2 * columns).round().astype(int)]
    planes += [(1, k) for k in np.linspace(*y_range, columns).round().astype(int)]
    planes += [(2, k) for k in np.linspace(*x_range, columns).round().astype(int)]
    for axis, (along, k) in zip(axes.ravel(), planes, strict=True):
        image, cut = hu.take(k, along), labels.take(k, along)
        sizes = [spacing[i] for i in range(3) if i != along]
        origin = "upper" if along == 0 else "lower"
        axis.imshow(image, cmap="gray", vmin=-1050, vmax=350, origin=origin, aspect=sizes[0] / sizes[1])
        for label, color in ((1, "red"), (2, "deepskyblue")):
            if (cut == label).any() and not (cut == label).all():
                axis.contour(cut == label, [0.5], colors=color, linewidths=0.7)
        if known is not None and known.take(k, along).any():
            axis.contour(known.take(k, along) > 0, [0.5], colors="lime", linewidths=0.4)
        axis.set_axis_off()
        axis.set_title(f"{'zyx'[along]} {k}", color="white", fontsize=7, pad=1)
    figure.suptitle(title, color="white", fontsize=9)
    figure.subplots_adjust(0, 0, 1, 0.95, 0.01, 0.06)
    figure.savefig(path, dpi=75)
    plt.close(figure)


def line(name: str, row: dict) -> str:
    """Print the measurements of a series: on its own grid, and on 1 mm."""
    out = [f"{name[-40:]:40s}"]
    for grid in ("", "_1mm"):
        ml, pieces = ("/".join(f"{value:.0f}" for value in row[key + grid]) for key in ("ml", "pieces"))
        out.append(f"{ml:>9s} ml, lump {row['lump' + grid]:3.0f}, pieces {pieces}, sheet {row['sheet' + grid]:3.1f}, ")
        out.append(f"outside {row['outside' + grid]:.0f}, {row['seconds' + grid]:4.1f} s | ")
    out.append(f"same {row['same_right']:.3f} {row['same_left']:.3f}")
    out.append(f" | {', '.join(row['alarms']) or '-'} | 1 mm: {', '.join(row['alarms_1mm']) or '-'}")
    if "dice_both" in row:
        sides = " ".join(f"{row[f'dice_{side}']:.4f}" for side in ("both", "right", "left"))
        out.append(f"\n{'':40s}Dice {sides}, HD95 {row['hd95_both']:.1f} mm, NSD {row['nsd_both']:.3f}; tutorial")
        out.append(f" {row['tutorial_320']:.4f} at -320 HU, {row['tutorial_200']:.4f} at -200 HU")
    return "".join(out)


def extent(labels: NDArray[np.uint8], hu: NDArray[np.int16], axis: int) -> tuple[float, float]:
    other = tuple({0, 1, 2} - {axis})
    seen = np.nonzero((labels > 0).any(axis=other))[0]
    if not seen.size:
        return hu.shape[axis] * 0.25, hu.shape[axis] * 0.75
    margin = 0.12 * (seen[-1] - seen[0])
    return seen[0] + margin, seen[-1] - margin
