"""The options of ``hilum patches``, the columns of its index, and its summary."""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from hilum.errors import FormatError, InputError, MissingInputError
from hilum.io.files import is_own_file, read_small
from hilum.io.volumes.placement import GridRecord
from hilum.ops.patches.boxes import three_sizes
from hilum.outputs import checksums, records
from hilum.train.output_folder import INDEX, SUMMARY
from hilum.train.runs import Skip

COLUMNS = (  # voxels are (z, y, x) on the scan's grid, world positions (x, y, z) in LPS mm
    *("patch", "images", "masks", "row", "kind", "label", "fold", "scan", "series_uid", "nodule", "diameter_mm"),
    *("start_z", "start_y", "start_x", "center_z", "center_y", "center_x", "center_world_x", "center_world_y"),
    *("center_world_z", "target_world_x", "target_world_y", "target_world_z", "padded_voxels", "nodule_voxels"),
)


@dataclass(frozen=True)
class PatchOptions:
    """Which patches are cut.

    Parameters
    ----------
    size : int or tuple of int, (z, y, x)
        Voxels along each axis; one number stands for all.
    jitter_mm : float
        The largest distance, along each axis, between the centers of a positive patch and its nodule.
    per_nodule : int
        Positive patches per nodule.
    negatives : int
        Negative patches per annotated scan.
    distance_mm : float
        The least distance between a negative patch's center and the surface of a nodule's sphere.
    seed : int
        Decides, with the id of the scan, what is drawn.
    labels : str
        ``"nodules"``, or the label map that the patches are of: their masks, and at its voxels the positive ones,
        `per_nodule` for each of its labels. Negative ones keep `distance_mm` from its voxels.

    Raises
    ------
    InputError
        If a value is out of range.
    """

    size: int | tuple[int, int, int] = 64
    jitter_mm: float = 5.0
    per_nodule: int = 1
    negatives: int = 4
    distance_mm: float = 20.0
    seed: int = 0
    labels: str = "nodules"

    def __post_init__(self) -> None:
        three_sizes(self.size)
        if not 1 <= self.per_nodule <= 10**4 or not 0 <= self.negatives <= 10**5:
            what = f"{self.per_nodule} a nodule, {self.negatives} negatives: out of range"
            raise InputError(what, do="use at least 1 per nodule, and 0 or more negatives", code="option")
        if not (0 <= self.distance_mm < np.inf and 0 <= self.jitter_mm < np.inf and self.seed >= 0):
            what = f"jitter {self.jitter_mm}, distance {self.distance_mm} or seed {self.seed} is negative or infinite"
            raise InputError(what, code="option")


class ScanPatches(msgspec.Struct, frozen=True, kw_only=True):
    """The patches of one scan: their number, grid and files."""

    scan: str
    series_uid: str
    fold: str
    positives: int
    negatives: int
    unit: str
    air: float
    geometry: GridRecord
    files: dict[str, records.FileRecord]


class Patches(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``summary.json``; ``label_values`` are those of a label map, by the names of its labels."""

    version: str
    options: PatchOptions
    positives: int
    negatives: int
    index: records.FileRecord
    scans: list[ScanPatches]
    skipped: list[Skip]
    label_values: dict[str, int] = {}


def read_patches(folder: Path) -> Patches:
    """Read the summary of finished patches, and compare sizes and the checksum of the index with it."""
    try:
        summary = msgspec.json.decode(read_small(folder / SUMMARY, limit=1 << 28), type=Patches)
    except (OSError, ValueError, msgspec.DecodeError):
        do = "give the --out of 'hilum patches'"
        raise MissingInputError("no finished patches here", where=folder, do=do) from None
    for scan in summary.scans:
        for name, facts in scan.files.items():
            path = folder / name
            if not (records.is_plain_name(name, max_parts=2) and is_own_file(folder, name)):
                raise FormatError("names a file that is not in the folder", where=folder / SUMMARY, code="path")
            if path.stat().st_size != facts.bytes:
                raise FormatError(f"does not have the size in {SUMMARY}", where=path, do="cut the patches again")
    index = folder / INDEX
    if not index.is_file() or checksums.file_record(index) != summary.index:
        raise FormatError("does not match its checksum", where=index, do="cut the patches again")
    return summary
