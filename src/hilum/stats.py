"""Statistics of a finished output, for centering and for planning a network: voxels, grids, masks, classes.

One scan is in memory at a time, and one histogram for each region.
"""

from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from hilum.errors import InputError, MissingInputError
from hilum.ops.finite import as_hu
from hilum.ops.statistics import HuHistogram, Moments, count_hu, measure_moments
from hilum.outputs import store
from hilum.outputs.records import ScanRecord, is_annotated
from hilum.recipe_sections import Intensity
from hilum.runs.run import AnyRun, open_run
from hilum.runs.run_scan import RunScan
from hilum.volume import Volume

PERCENTILES = (0.5, 1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0, 99.5)

REGIONS = ("lungs", "nodules", "foreground")  # the last one is the union of both, which is nnU-Net's foreground

_STEPS = 1 << 14  # histogram bins per unit of the unit range, whose values lie in [-1, 2]


class VoxelStats(msgspec.Struct, frozen=True, kw_only=True):
    """Statistics over voxels, in the unit of the output: HU, or the unit range.

    `unit_mean` is the mean of the voxels after ``[-1000, 400]`` HU is scaled to [0, 1], for ``intensity.mean`` of a
    recipe. It is None for an output that is already in the unit range.
    """

    scans: int
    voxels: int
    unit: str
    mean: float
    std: float
    minimum: float
    maximum: float
    unit_mean: float | None
    percentiles: dict[str, float]


class VoxelAccumulator:
    """Moments and histogram of the voxels of several scans."""

    def __init__(self) -> None:
        self.scans, self.units = 0, set[str]()
        self._moments, self._counts = Moments(), HuHistogram()

    def add(self, volume: Volume, *, unit: str) -> None:
        """Add the voxels of one scan."""
        self.scans += 1
        self.units.add(unit)
        self._moments += measure_moments(volume)
        self._counts += count_hu(volume if unit == store.HU else Volume(as_hu(volume.array * _STEPS), volume.geometry))

    def results(self) -> dict[str, Any]:
        """The fields that `VoxelStats` shares with `RegionStats`."""
        step = 1.0 if self.units == {store.HU} else 1.0 / _STEPS
        return {
            "scans": self.scans,
            "voxels": self._moments.total,
            "mean": self._moments.mean,
            "std": self._moments.std,
            "minimum": self._moments.lowest,
            "maximum": self._moments.highest,
            "percentiles": {f"{p:g}": round(self._counts.percentile(p) * step, 6) for p in PERCENTILES},
        }

    def voxel_stats(self, folder: Path) -> VoxelStats:
        """Compute the statistics of all scans of a run.

        Raises
        ------
        InputError
            If there is no scan, or the scans are in different units, which have no common mean.
        """
        if not self.scans:
            raise MissingInputError("no finished scan here", where=folder, do="give the --out folder of 'hilum run'")
        if len(self.units) > 1:
            what = f"scans in different units: {', '.join(sorted(self.units))}"
            raise InputError(what, where=folder, do="measure one recipe")
        (unit,), usual = self.units, Intensity()
        unit_mean = self._counts.mean(lower=usual.lower, upper=usual.upper) if unit == store.HU else None
        return VoxelStats(unit=unit, unit_mean=unit_mean, **self.results())


def stats_text(stats: VoxelStats) -> str:
    """Format statistics as a few lines for a person."""
    lines = [
        f"{stats.scans} scans, {stats.voxels} voxels, in {stats.unit}",
        f"mean {stats.mean:.6g}  std {stats.std:.6g}  range {stats.minimum:.6g} to {stats.maximum:.6g}",
        "percentiles: " + "  ".join(f"{name} % {value:.4g}" for name, value in stats.percentiles.items()),
    ]
    if stats.unit_mean is not None:
        lines.append(f"after [-1000, 400] HU is scaled to [0, 1] the mean is {stats.unit_mean:.6g}, to center by")
    return "\n".join(lines)


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


def fingerprint(folder: AnyRun) -> Fingerprint:
    """Measure every finished scan of a run: grids, gray values overall and inside the masks, classes.

    Parameters
    ----------
    folder : Path
        The run's output folder, of any format.

    Returns
    -------
    Fingerprint
        Exact; percentiles of the unit range are exact to 1/16384. Regions that no scan has are left out.

    Raises
    ------
    MissingInputError
        If there is no finished scan.
    InputError
        If the scans are in different units, or a stored file is missing, damaged or has changed.
    """
    records: list[ScanRecord] = []
    overall = VoxelAccumulator()
    regions = {name: VoxelAccumulator() for name in REGIONS}
    classes = dict.fromkeys(("background", "lung_right", "lung_left", "nodule"), 0)
    for scan in (run := open_run(folder)):
        scan.check_files()
        if (ct := scan.read("ct")) is None:
            continue
        records.append(record := scan.record)
        overall.add(ct, unit=record.unit)
        if (masks := _read_masks(scan, ct)) is None:
            continue
        lungs, nodules = masks
        for name, region in zip(REGIONS, (lungs > 0, nodules > 0, (lungs > 0) | (nodules > 0)), strict=True):
            if region.any():
                row = ct.array[region][None, None, :]  # its voxels as a volume of one row
                regions[name].add(Volume(row, ct.geometry.crop((0, 0, 0), row.shape)), unit=record.unit)
        counts = np.bincount(np.where(nodules > 0, 3, lungs).ravel(), minlength=4)
        classes = {name: classes[name] + int(n) for name, n in zip(classes, counts, strict=True)}
    voxels = overall.voxel_stats(run.folder)
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


def fingerprint_json(result: Fingerprint) -> str:
    """Encode a fingerprint as JSON: the overall statistics, and the rest under ``fingerprint``."""
    parts = msgspec.to_builtins(result)
    overall = parts.pop("overall")
    return msgspec.json.format(msgspec.json.encode({**overall, "fingerprint": parts})).decode()


def fingerprint_text(result: Fingerprint) -> str:
    """Format a fingerprint as tables for a person, without the overall statistics."""
    lines = [f"{'(z, y, x)':<18}{'minimum':>24}{'median':>24}{'maximum':>24}"]
    rows = {"spacing, mm": result.spacing_mm, "input, mm": result.source_spacing_mm, "shape": result.shape}
    for name, one in rows.items():
        cells = (" ".join(f"{value:.4g}" for value in row) for row in (one.minimum, one.median, one.maximum))
        lines.append(f"{name:<18}" + "".join(f"{cell:>24}" for cell in cells))
    if result.regions:
        columns = ("mean", "std", "0.5 %", "50 %", "99.5 %")
        lines.append(f"{'inside':<12}{'scans':>6}{'voxels':>13}" + "".join(f"{name:>10}" for name in columns))
    for name, region in result.regions.items():
        values = (region.mean, region.std, *(region.percentiles[p] for p in ("0.5", "50", "99.5")))
        lines.append(f"{name:<12}{region.scans:>6}{region.voxels:>13}" + "".join(f"{value:>10.4g}" for value in values))
    if total := sum(result.classes.values()):
        shares = ", ".join(f"{name} {n} ({100 * n / total:.3g} %)" for name, n in result.classes.items())
        lines.append(f"voxels by class: {shares}")
    if result.annotated_scans:
        per = result.nodules_per_scan
        spread = f"{per['minimum']:g} to {per['maximum']:g} a scan, median {per['median']:g}"
        lines.append(f"nodules: {result.nodules} in {result.annotated_scans} annotated scans, {spread}")
    return "\n".join(lines)


def _read_masks(scan: RunScan, ct: Volume) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Read the lungs and nodules of a scan. A missing mask is empty; None if both are missing."""
    masks = [scan.read(name) for name in ("lungs", "nodules")]
    if not any(masks):
        return None
    lungs, nodules = (np.zeros(ct.array.shape, np.uint8) if mask is None else mask.array for mask in masks)
    return np.minimum(lungs, 2), nodules


def _spread(rows: list[Any]) -> Spread:
    values = np.array(rows, float)
    low, middle, high = (tuple(measure(values, axis=0).tolist()) for measure in (np.min, np.median, np.max))
    return Spread(minimum=low, median=middle, maximum=high)
