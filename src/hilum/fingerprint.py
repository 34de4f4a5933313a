"""What a finished output is like, as a network's plan needs it: grids, gray values inside masks, how rare each class.

nnU-Net calls it the fingerprint. One scan is in memory at a time, and what is kept of all is one histogram a region.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from hilum.errors import FormatError, MissingInputError
from hilum.ops.statistics import HuHistogram, Moments, count_hu, measure_moments
from hilum.outputs.finished import check_files, finished_scans
from hilum.outputs.records import is_annotated
from hilum.outputs.store import HU
from hilum.outputs.volumes import read_stored
from hilum.stats import FINE, PERCENTILES, VoxelStats, fine, summarize
from hilum.volume import Volume

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from hilum.outputs.records import ScanRecord

REGIONS = ("lungs", "nodules", "foreground")
"""Where gray values are measured: in the lungs, in the nodules, and in either, which is nnU-Net's foreground."""


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Least, middle and greatest over the scans, along (z, y, x)."""

    minimum: tuple[float, ...]
    median: tuple[float, ...]
    maximum: tuple[float, ...]


class RegionStats(msgspec.Struct, frozen=True, kw_only=True):
    """The gray values of all voxels of a region, over all scans that have it; in the unit of the output."""

    scans: int
    voxels: int
    mean: float
    std: float
    minimum: float
    maximum: float
    percentiles: dict[str, float]


class Fingerprint(msgspec.Struct, frozen=True, kw_only=True):
    """What `fingerprint` found.

    ``classes`` are voxels over the scans that have masks: background, right and left lung without nodules, nodule.
    ``nodules_per_scan`` counts the nodules that lie in the volume, over the scans in which somebody looked for them.
    """

    whole: VoxelStats
    regions: dict[str, RegionStats]
    spacing_mm: Spread
    source_spacing_mm: Spread
    shape: Spread
    classes: dict[str, int]
    annotated_scans: int
    nodules: int
    nodules_per_scan: dict[str, float]


class _Region:
    """A region's voxels, as they are met scan by scan."""

    def __init__(self) -> None:
        self.scans, self.moments, self.counts = 0, Moments(), HuHistogram()

    def add(self, volume: Volume, chosen: NDArray[Any], *, unit: str) -> None:
        """Take the voxels of one scan that are chosen."""
        if not chosen.any():
            return
        part = Volume(volume.array[chosen][None, None, :], volume.geometry.crop((0, 0, 0), (1, 1, int(chosen.sum()))))
        self.scans += 1
        self.moments += measure_moments(part)
        self.counts += count_hu(part if unit == HU else fine(part))

    def told(self, *, unit: str) -> RegionStats:
        """Sum them up."""
        step = 1.0 if unit == HU else 1.0 / FINE
        return RegionStats(
            scans=self.scans,
            voxels=self.moments.total,
            mean=self.moments.mean,
            std=self.moments.std,
            minimum=self.moments.lowest,
            maximum=self.moments.highest,
            percentiles={f"{p:g}": round(self.counts.percentile(p) * step, 6) for p in PERCENTILES},
        )


def fingerprint(folder: Path) -> Fingerprint:
    """Measure every finished scan of a run: grids, gray values of the whole and inside the masks, classes.

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
    whole = _Region()
    regions = {name: _Region() for name in REGIONS}
    classes = dict.fromkeys(("background", "lung_right", "lung_left", "nodule"), 0)
    for path, record in finished_scans(folder):
        check_files(path, record)
        ct = read_stored(path, record, "ct")
        if ct is None:
            continue
        records.append(record)
        whole.scans += 1
        whole.moments += measure_moments(ct)
        whole.counts += count_hu(ct if record.unit == HU else fine(ct))
        drawn = _classes(path, record, ct)
        if drawn is None:
            continue
        for name, values in (("lungs", drawn.lungs), ("nodules", drawn.nodules)):
            regions[name].add(ct, values > 0, unit=record.unit)
        regions["foreground"].add(ct, (drawn.lungs > 0) | (drawn.nodules > 0), unit=record.unit)
        counted = np.bincount(np.where(drawn.nodules > 0, 3, drawn.lungs).ravel(), minlength=4)
        classes = {name: classes[name] + int(n) for name, n in zip(classes, counted, strict=True)}
    if not records:
        raise MissingInputError("no finished scan here", where=folder, do="give the --out folder of 'hilum run'")
    told = summarize(whole.scans, whole.moments, whole.counts, {r.unit for r in records}, folder=folder)
    looked = [sum(n.inside for n in r.nodules) for r in records if is_annotated(r)]
    return Fingerprint(
        whole=told,
        regions={name: region.told(unit=told.unit) for name, region in regions.items() if region.scans},
        spacing_mm=_spread([r.geometry.spacing for r in records]),
        source_spacing_mm=_spread([r.source_geometry.spacing for r in records]),
        shape=_spread([r.geometry.shape for r in records]),
        classes=classes,
        annotated_scans=len(looked),
        nodules=sum(looked),
        nodules_per_scan={"minimum": min(looked), "median": median(looked), "maximum": max(looked)} if looked else {},
    )


def fingerprint_json(found: Fingerprint) -> str:
    """Write a fingerprint as JSON: the statistics of the whole as they always were, the rest beside them.

    Parameters
    ----------
    found : Fingerprint

    Returns
    -------
    str
    """
    parts = msgspec.to_builtins(found)
    whole = parts.pop("whole")
    return msgspec.json.format(msgspec.json.encode({**whole, "fingerprint": parts})).decode()


def fingerprint_text(found: Fingerprint) -> str:
    """Write a fingerprint as tables for a person, without the statistics of the whole.

    Parameters
    ----------
    found : Fingerprint

    Returns
    -------
    str
    """
    lines = [f"{'(z, y, x)':<18}{'least':>24}{'middle':>24}{'greatest':>24}"]
    for name, one in (
        ("spacing, mm", found.spacing_mm),
        ("as read, mm", found.source_spacing_mm),
        ("shape", found.shape),
    ):
        cells = (" ".join(f"{value:.4g}" for value in row) for row in (one.minimum, one.median, one.maximum))
        lines.append(f"{name:<18}" + "".join(f"{cell:>24}" for cell in cells))
    if found.regions:
        lines.append(f"{'inside':<12}{'scans':>6}{'voxels':>13}" + "".join(f"{n:>10}" for n in _COLUMNS))
    for name, region in found.regions.items():
        values = (region.mean, region.std, *(region.percentiles[p] for p in ("0.5", "50", "99.5")))
        lines.append(f"{name:<12}{region.scans:>6}{region.voxels:>13}" + "".join(f"{value:>10.4g}" for value in values))
    total = sum(found.classes.values())
    if total:
        shares = ", ".join(f"{name} {n} ({100 * n / total:.3g} %)" for name, n in found.classes.items())
        lines.append(f"voxels by class: {shares}")
    if found.annotated_scans:
        per = found.nodules_per_scan
        lines.append(
            f"nodules: {found.nodules} in {found.annotated_scans} annotated scans, "
            f"{per['minimum']:g} to {per['maximum']:g} a scan, {per['median']:g} in the middle"
        )
    return "\n".join(lines)


_COLUMNS = ("mean", "std", "0.5 %", "50 %", "99.5 %")


class _Drawn(msgspec.Struct):
    lungs: Any
    nodules: Any


def _classes(path: Path, record: ScanRecord, ct: Volume) -> _Drawn | None:
    """The masks of a scan; one that it has not is empty, None where it has neither."""
    masks = {name: read_stored(path, record, name) for name in ("lungs", "nodules")}
    if not any(masks.values()):
        return None
    for name, mask in masks.items():
        if mask is not None and mask.array.shape != ct.array.shape:
            raise FormatError(f"its {name} are not on the grid of its ct", where=path, do="run it again")
    lungs, nodules = (np.zeros(ct.array.shape, np.uint8) if m is None else m.array for m in masks.values())
    return _Drawn(np.minimum(lungs, 2), nodules)


def _spread(rows: list[Any]) -> Spread:
    values = np.array(rows, float)
    return Spread(
        minimum=tuple(values.min(axis=0).tolist()),
        median=tuple(np.median(values, axis=0).tolist()),
        maximum=tuple(values.max(axis=0).tolist()),
    )
