"""The fingerprint of a finished output for planning a network: grids, gray values inside masks, class frequencies.

nnU-Net introduced the name. One scan is in memory at a time, and one histogram for each region.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from hilum.errors import FormatError
from hilum.outputs.records import is_annotated
from hilum.outputs.volumes import read_stored
from hilum.stats import VoxelAccumulator, VoxelStats, checked_volumes
from hilum.volume import Volume

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from hilum.outputs.records import ScanRecord

REGIONS = ("lungs", "nodules", "foreground")
"""The regions of the gray values: lungs, nodules, and the union of both, which is nnU-Net's foreground."""


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Minimum, median and maximum over the scans, along (z, y, x)."""

    minimum: tuple[float, ...]
    median: tuple[float, ...]
    maximum: tuple[float, ...]


class RegionStats(msgspec.Struct, frozen=True, kw_only=True):
    """Gray values of a region over all scans that have it, in the unit of the output."""

    scans: int
    voxels: int
    mean: float
    std: float
    minimum: float
    maximum: float
    percentiles: dict[str, float]


class Fingerprint(msgspec.Struct, frozen=True, kw_only=True):
    """The result of `fingerprint`.

    ``classes`` counts voxels over the scans with masks: background, right and left lung without nodules, nodule.
    ``nodules_per_scan`` counts the nodules inside the volume, over the annotated scans.
    """

    overall: VoxelStats
    regions: dict[str, RegionStats]
    spacing_mm: Spread
    source_spacing_mm: Spread
    shape: Spread
    classes: dict[str, int]
    annotated_scans: int
    nodules: int
    nodules_per_scan: dict[str, float]


def fingerprint(folder: Path) -> Fingerprint:
    """Measure every finished scan of a run: grids, gray values overall and inside the masks, classes.

    Parameters
    ----------
    folder : Path
        The run's output folder, of any format.

    Returns
    -------
    Fingerprint
        Regions that no scan has are left out.

    Raises
    ------
    MissingInputError
        If there is no finished scan.
    InputError
        If the scans are in different units, or a stored file is damaged.
    """
    records: list[ScanRecord] = []
    overall = VoxelAccumulator()
    regions = {name: VoxelAccumulator() for name in REGIONS}
    classes = dict.fromkeys(("background", "lung_right", "lung_left", "nodule"), 0)
    for path, record, ct in checked_volumes(folder):
        records.append(record)
        overall.add(ct, unit=record.unit)
        masks = _read_masks(path, record, ct)
        if masks is None:
            continue
        lungs, nodules = masks
        for name, region in zip(REGIONS, (lungs > 0, nodules > 0, (lungs > 0) | (nodules > 0)), strict=True):
            if region.any():
                regions[name].add(_voxels_of(ct, region), unit=record.unit)
        counts = np.bincount(np.where(nodules > 0, 3, lungs).ravel(), minlength=4)
        classes = {name: classes[name] + int(n) for name, n in zip(classes, counts, strict=True)}
    voxels = overall.voxel_stats(folder)
    per_scan = [sum(n.inside for n in r.nodules) for r in records if is_annotated(r)]
    per = {"minimum": min(per_scan), "median": median(per_scan), "maximum": max(per_scan)} if per_scan else {}
    return Fingerprint(
        overall=voxels,
        regions={name: RegionStats(**region.results()) for name, region in regions.items() if region.scans},
        spacing_mm=_spread([r.geometry.spacing for r in records]),
        source_spacing_mm=_spread([r.source_geometry.spacing for r in records]),
        shape=_spread([r.geometry.shape for r in records]),
        classes=classes,
        annotated_scans=len(per_scan),
        nodules=sum(per_scan),
        nodules_per_scan=per,
    )


def _voxels_of(volume: Volume, region: NDArray[np.bool_]) -> Volume:
    """The voxels of a region as a volume of one row."""
    values = volume.array[region][None, None, :]
    return Volume(values, volume.geometry.crop((0, 0, 0), values.shape))


def fingerprint_json(result: Fingerprint) -> str:
    """Encode a fingerprint as JSON: the overall statistics, and the rest under ``fingerprint``."""
    parts = msgspec.to_builtins(result)
    overall = parts.pop("overall")
    return msgspec.json.format(msgspec.json.encode({**overall, "fingerprint": parts})).decode()


def fingerprint_text(result: Fingerprint) -> str:
    """Format a fingerprint as tables for a person, without the overall statistics."""
    lines = [f"{'(z, y, x)':<18}{'minimum':>24}{'median':>24}{'maximum':>24}"]
    for name, one in (
        ("spacing, mm", result.spacing_mm),
        ("input, mm", result.source_spacing_mm),
        ("shape", result.shape),
    ):
        cells = (" ".join(f"{value:.4g}" for value in row) for row in (one.minimum, one.median, one.maximum))
        lines.append(f"{name:<18}" + "".join(f"{cell:>24}" for cell in cells))
    if result.regions:
        columns = ("mean", "std", "0.5 %", "50 %", "99.5 %")
        lines.append(f"{'inside':<12}{'scans':>6}{'voxels':>13}" + "".join(f"{name:>10}" for name in columns))
    for name, region in result.regions.items():
        values = (region.mean, region.std, *(region.percentiles[p] for p in ("0.5", "50", "99.5")))
        lines.append(f"{name:<12}{region.scans:>6}{region.voxels:>13}" + "".join(f"{value:>10.4g}" for value in values))
    total = sum(result.classes.values())
    if total:
        shares = ", ".join(f"{name} {n} ({100 * n / total:.3g} %)" for name, n in result.classes.items())
        lines.append(f"voxels by class: {shares}")
    if result.annotated_scans:
        per = result.nodules_per_scan
        lines.append(
            f"nodules: {result.nodules} in {result.annotated_scans} annotated scans, "
            f"{per['minimum']:g} to {per['maximum']:g} a scan, median {per['median']:g}"
        )
    return "\n".join(lines)


def _read_masks(path: Path, record: ScanRecord, ct: Volume) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Read the lungs and nodules of a scan. A missing mask is empty; None if both are missing."""
    masks = {name: read_stored(path, record, name) for name in ("lungs", "nodules")}
    if not any(masks.values()):
        return None
    for name, mask in masks.items():
        if mask is not None and mask.array.shape != ct.array.shape:
            raise FormatError(f"the grid of its {name} is not that of its ct", where=path, do="run it again")
    lungs, nodules = (np.zeros(ct.array.shape, np.uint8) if m is None else m.array for m in masks.values())
    return np.minimum(lungs, 2), nodules


def _spread(rows: list[Any]) -> Spread:
    values = np.array(rows, float)
    return Spread(
        minimum=tuple(values.min(axis=0).tolist()),
        median=tuple(np.median(values, axis=0).tolist()),
        maximum=tuple(values.max(axis=0).tolist()),
    )
