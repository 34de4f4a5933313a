"""Voxel statistics over a finished output: the mean to center by, the spread, the percentiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from hilum.errors import InputError, MissingInputError
from hilum.io.store import HU, finished_scans, read_stored

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

PERCENTILES = (0.5, 1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0, 99.5)

_BINS = 1 << 16  # as many as int16 has values


class VoxelStats(msgspec.Struct, frozen=True, kw_only=True):
    """Statistics over voxels, in the unit of the output: HU, or the unit range."""

    scans: int
    voxels: int
    unit: str
    mean: float
    std: float
    minimum: float
    maximum: float
    percentiles: dict[str, float]


def voxel_stats(folder: Path) -> VoxelStats:
    """Measure every voxel of every finished scan of a run.

    Parameters
    ----------
    folder : Path
        The run's output folder.

    Returns
    -------
    VoxelStats
        Exact for integer volumes; for float volumes the percentiles are exact to 1/65536 of the range.

    Raises
    ------
    MissingInputError
        If there is no finished scan.
    InputError
        If the scans are in different units, which have no common mean.
    """
    units = {record.unit for _, record in finished_scans(folder)}
    if not units:
        raise MissingInputError("no finished scan here", where=folder, do="give the --out folder of 'hilum run'")
    if len(units) > 1:
        raise InputError(f"scans in different units: {', '.join(sorted(units))}", where=folder, do="measure one recipe")
    scans, count, total, squares, low, high = 0, 0, 0.0, 0.0, np.inf, -np.inf
    for array in _arrays(folder):
        wide = array.astype(np.float64).ravel()
        scans, count = scans + 1, count + wide.size
        total, squares = total + float(wide.sum()), squares + float(wide @ wide)
        low, high = min(low, float(wide.min())), max(high, float(wide.max()))
    mean, unit = total / count, units.pop()
    return VoxelStats(
        scans=scans,
        voxels=count,
        unit=unit,
        mean=mean,
        std=float(np.sqrt(max(squares / count - mean * mean, 0.0))),
        minimum=low,
        maximum=high,
        percentiles=_percentiles(folder, low, high, whole=unit == HU),
    )


def stats_json(found: VoxelStats) -> str:
    """Write statistics as JSON.

    Parameters
    ----------
    found : VoxelStats

    Returns
    -------
    str
    """
    return msgspec.json.format(msgspec.json.encode(found)).decode()


def stats_text(found: VoxelStats) -> str:
    """Write statistics as a few lines for a person.

    Parameters
    ----------
    found : VoxelStats

    Returns
    -------
    str
    """
    steps = "  ".join(f"{name} % {value:.4g}" for name, value in found.percentiles.items())
    return (
        f"{found.scans} scans, {found.voxels} voxels, in {found.unit}\n"
        f"mean {found.mean:.6g}  std {found.std:.6g}  range {found.minimum:.6g} to {found.maximum:.6g}\n"
        f"percentiles: {steps}"
    )


def _arrays(folder: Path) -> Iterator[NDArray[np.generic]]:
    for path, record in finished_scans(folder):
        volume = read_stored(path, record, "ct")
        if volume is not None:
            yield volume.array


def _percentiles(folder: Path, low: float, high: float, *, whole: bool) -> dict[str, float]:
    """Percentiles from a histogram, in which each whole number has a bin of its own."""
    step = 1.0 if whole else max(high - low, 1e-12) / (_BINS - 1)
    counts = np.zeros(_BINS, np.int64)
    for array in _arrays(folder):
        bins = np.rint((array.astype(np.float64).ravel() - low) / step).astype(np.int64)
        counts += np.bincount(bins, minlength=_BINS)
    reached = np.cumsum(counts)
    ranks = np.ceil(np.array(PERCENTILES) / 100 * reached[-1])
    values = low + step * np.searchsorted(reached, ranks)
    return {f"{p:g}": round(float(v), 6) for p, v in zip(PERCENTILES, values, strict=True)}
