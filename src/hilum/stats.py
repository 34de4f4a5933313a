"""Voxel statistics over a finished output: the mean to center by, the spread, the percentiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    from pathlib import Path

PERCENTILES = (0.5, 1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0, 99.5)

FINE = 1 << 14
"""Steps per unit in which the unit range, at most [-1, 2], is counted for its percentiles."""


class VoxelStats(msgspec.Struct, frozen=True, kw_only=True):
    """Statistics over voxels, in the unit of the output: HU, or the unit range.

    `unit_mean` is the mean of the voxels after ``[-1000, 400]`` HU is brought to [0, 1]: what ``intensity.mean`` of a
    recipe takes. It is None for an output that is in the unit range already.
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


def voxel_stats(folder: Path) -> VoxelStats:
    """Measure every voxel of every finished scan of a run, one scan in memory at a time.

    Parameters
    ----------
    folder : Path
        The run's output folder.

    Returns
    -------
    VoxelStats
        Exact, but for the percentiles of the unit range, which are exact to 1/16384.

    Raises
    ------
    MissingInputError
        If there is no finished scan.
    InputError
        If the scans are in different units, which have no common mean, or a stored file is not what was written.
    """
    units, scans, moments, counts = set[str](), 0, Moments(), HuHistogram()
    for path, record in finished_scans(folder):
        check_files(path, record)
        volume = read_stored(path, record, "ct")
        if volume is None:
            continue
        units.add(record.unit)
        scans += 1
        moments += measure_moments(volume)
        counts += count_hu(volume if record.unit == HU else fine(volume))
    if not scans:
        raise MissingInputError("no finished scan here", where=folder, do="give the --out folder of 'hilum run'")
    return summarize(scans, moments, counts, units, folder=folder)


def summarize(scans: int, moments: Moments, counts: HuHistogram, units: set[str], *, folder: Path) -> VoxelStats:
    """Sum up what was counted over the scans of a run.

    Parameters
    ----------
    scans : int
    moments : Moments
    counts : HuHistogram
        Of HU, or of `fine` steps of the unit range.
    units : set of str
        Of the scans.
    folder : Path
        What an error names.

    Returns
    -------
    VoxelStats

    Raises
    ------
    InputError
        If there are several units, which have no common mean.
    """
    if len(units) > 1:
        raise InputError(f"scans in different units: {', '.join(sorted(units))}", where=folder, do="measure one recipe")
    (unit,), usual = units, Intensity()
    step = 1.0 if unit == HU else 1.0 / FINE
    return VoxelStats(
        scans=scans,
        voxels=moments.total,
        unit=unit,
        mean=moments.mean,
        std=moments.std,
        minimum=moments.lowest,
        maximum=moments.highest,
        unit_mean=counts.mean(lower=usual.lower, upper=usual.upper) if unit == HU else None,
        percentiles={f"{p:g}": round(counts.percentile(p) * step, 6) for p in PERCENTILES},
    )


def stats_text(found: VoxelStats) -> str:
    """Write statistics as a few lines for a person.

    Parameters
    ----------
    found : VoxelStats

    Returns
    -------
    str
    """
    lines = [
        f"{found.scans} scans, {found.voxels} voxels, in {found.unit}",
        f"mean {found.mean:.6g}  std {found.std:.6g}  range {found.minimum:.6g} to {found.maximum:.6g}",
        "percentiles: " + "  ".join(f"{name} % {value:.4g}" for name, value in found.percentiles.items()),
    ]
    if found.unit_mean is not None:
        lines.append(f"after [-1000, 400] HU is brought to [0, 1] the mean is {found.unit_mean:.6g}, to center by")
    return "\n".join(lines)


def fine(volume: Volume) -> Volume:
    """Bring the unit range to whole numbers that a `HuHistogram` counts.

    Parameters
    ----------
    volume : Volume
        In the unit range.

    Returns
    -------
    Volume of int16
        `FINE` steps a unit.
    """
    return Volume(as_hu(volume.array * FINE), volume.geometry)
