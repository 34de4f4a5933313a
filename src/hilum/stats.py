"""Voxel statistics over a finished output: mean (for centering), standard deviation, percentiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from hilum.errors import InputError, MissingInputError
from hilum.ops.finite import as_hu
from hilum.ops.statistics import HuHistogram, Moments, count_hu, measure_moments
from hilum.outputs.finished import check_files, finished_scans
from hilum.outputs.store import HU
from hilum.outputs.volumes import read_stored
from hilum.recipes import Intensity
from hilum.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hilum.outputs.records import ScanRecord

PERCENTILES = (0.5, 1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0, 99.5)

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
        self._counts += count_hu(volume if unit == HU else Volume(as_hu(volume.array * _STEPS), volume.geometry))

    def results(self) -> dict[str, Any]:
        """The fields that `VoxelStats` shares with `hilum.fingerprint.RegionStats`."""
        step = 1.0 if self.units == {HU} else 1.0 / _STEPS
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
        unit_mean = self._counts.mean(lower=usual.lower, upper=usual.upper) if unit == HU else None
        return VoxelStats(unit=unit, unit_mean=unit_mean, **self.results())


def checked_volumes(folder: Path) -> Iterator[tuple[Path, ScanRecord, Volume]]:
    """Read the folder, record and CT of every finished scan of a run, after comparing its files with their checksums.

    Raises
    ------
    InputError
        If a file is missing or has changed.
    """
    for path, record in finished_scans(folder):
        check_files(path, record)
        if (ct := read_stored(path, record, "ct")) is not None:
            yield path, record, ct


def voxel_stats(folder: Path) -> VoxelStats:
    """Measure every voxel of every finished scan of a run, with one scan in memory at a time.

    Parameters
    ----------
    folder : Path
        The run's output folder.

    Returns
    -------
    VoxelStats
        Exact; percentiles of the unit range are exact to 1/16384.

    Raises
    ------
    MissingInputError
        If there is no finished scan.
    InputError
        If the scans are in different units, which have no common mean, or a stored file has changed.
    """
    voxels = VoxelAccumulator()
    for _, record, ct in checked_volumes(folder):
        voxels.add(ct, unit=record.unit)
    return voxels.voxel_stats(folder)


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
