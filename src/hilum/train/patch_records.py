"""What ``hilum patches`` is told, and what it tells: its options, the columns of its index, its summary."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from hilum.errors import FormatError, InputError, MissingInputError
from hilum.io.files import is_own_file, read_small
from hilum.io.volumes.placement import GridRecord  # noqa: TC001 - msgspec reads the types of fields
from hilum.outputs.records import FileRecord, is_plain_name
from hilum.train.runs import SUMMARY, Skip

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = (
    *("patch", "images", "masks", "row", "kind", "label", "fold", "scan", "series_uid", "nodule", "diameter_mm"),
    *("start_z", "start_y", "start_x", "center_z", "center_y", "center_x", "center_world_x", "center_world_y"),
    *("center_world_z", "target_world_x", "target_world_y", "target_world_z", "padded_voxels", "nodule_voxels"),
)
"""Of index.csv: voxels are (z, y, x) on the scan's grid, world positions (x, y, z) in LPS mm."""


@dataclass(frozen=True)
class PatchOptions:
    """What is cut.

    Parameters
    ----------
    size : int
        Voxels along each edge.
    jitter_mm : float
        A positive patch is moved off its nodule by up to this along each axis.
    per_nodule : int
        Positive patches at each nodule.
    negatives : int
        Negative patches of each annotated scan.
    distance_mm : float
        From a negative patch's center to the surface of every nodule's sphere, at least.
    seed : int

    Raises
    ------
    InputError
        If a value is out of range.
    """

    size: int = 64
    jitter_mm: float = 5.0
    per_nodule: int = 1
    negatives: int = 4
    distance_mm: float = 20.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.size <= 1024 or not 1 <= self.per_nodule <= 10**4 or not 0 <= self.negatives <= 10**5:
            what = f"size {self.size}, {self.per_nodule} a nodule, {self.negatives} negatives: out of range"
            raise InputError(what, do="use size 1 to 1024, at least one a nodule, no less than none", code="option")
        if not (0 <= self.distance_mm < np.inf and 0 <= self.jitter_mm < np.inf and self.seed >= 0):
            what = f"jitter {self.jitter_mm}, distance {self.distance_mm} or seed {self.seed} is negative or infinite"
            raise InputError(what, code="option")


class ScanPatches(msgspec.Struct, frozen=True, kw_only=True):
    """The patches of one scan: how many, on which grid, and their files."""

    scan: str
    series_uid: str
    fold: str
    positives: int
    negatives: int
    unit: str
    air: float
    geometry: GridRecord
    files: dict[str, FileRecord]


class Patches(msgspec.Struct, frozen=True, kw_only=True):
    """All of ``summary.json``."""

    version: str
    options: PatchOptions
    positives: int
    negatives: int
    index: FileRecord
    scans: list[ScanPatches]
    skipped: list[Skip]


_LARGEST = 1 << 28


def read_patches(folder: Path) -> Patches:
    """Read the summary of finished patches, and hold the files against it.

    Parameters
    ----------
    folder : Path
        The output of ``hilum patches``.

    Returns
    -------
    Patches

    Raises
    ------
    MissingInputError, FormatError
        If there are none, or a file is gone or not of the size it was written in.
    """
    try:
        told = msgspec.json.decode(read_small(folder / SUMMARY, limit=_LARGEST), type=Patches)
    except (OSError, ValueError, msgspec.DecodeError):
        raise MissingInputError(
            "no finished patches here", where=folder, do="give the --out of 'hilum patches'"
        ) from None
    for scan in told.scans:
        for name, facts in scan.files.items():
            path = folder / name
            if not (is_plain_name(name, max_parts=2) and is_own_file(folder, name)):
                raise FormatError("names a file that is not in the folder", where=folder / SUMMARY, code="path")
            if path.stat().st_size != facts.bytes:
                raise FormatError("is not of the size that it was written in", where=path, do="cut the patches again")
    index = folder / "index.csv"
    if not index.is_file() or file_record(index) != told.index:
        raise FormatError("does not match its checksum", where=index, do="cut the patches again")
    return told


def file_record(path: Path) -> FileRecord:
    """Size and SHA-256 of a file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    FileRecord
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileRecord(bytes=path.stat().st_size, sha256=digest)
