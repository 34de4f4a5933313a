"""What raw data of nnU-Net and nnDetection have in common: numbered folders, images as NIfTI, splits by patient."""

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from hilum.errors import FormatError, InputError, MissingInputError, OutputError
from hilum.io import files, scan_files
from hilum.io.volumes.formats import STORES
from hilum.outputs import store
from hilum.train.runs import ListedScan
from hilum.volume import Volume

ENDING = STORES["nifti"].suffix


def choose(root: Path, prefix: str, *, number: int, name: str, overwrite: bool) -> Path:
    """Give the folder of a data set, such as Dataset501_Hilum; only an earlier export may be there.

    Refuses a name that the program does not take, a number that another data set has, and what hilum did not write.
    """
    if not 1 <= number <= 999 or re.fullmatch(r"[A-Za-z0-9_]+", name) is None:
        what = f"{prefix}{number}_{name} is not a valid name: 1 to 999, then letters, digits and underscores"
        raise InputError(what, do="choose another --number or --name", code="option")
    final = root / f"{prefix}{number:03d}_{name}"
    for other in sorted(root.glob(f"{prefix}{number:03d}_*")) if root.is_dir() else ():
        if other != final:
            what = "is a data set of the same number"
            raise OutputError(what, where=other, do="choose another --number", code="exists")
    if not final.exists():
        return final
    content = {}
    with suppress(OSError, ValueError, msgspec.DecodeError):
        content = msgspec.json.decode(files.read_small(final / "dataset.json", limit=1 << 24), type=dict[str, Any])
    if "hilum" not in content:
        raise OutputError("was not written by hilum", where=final, do="choose another --number", code="exists")
    if not overwrite:
        raise OutputError("holds an earlier export", where=final, do="give --overwrite", code="exists")
    return final


def check_hounsfield(scans: list[ListedScan], program: str) -> None:
    """Refuse scans in the unit range: the program normalizes HU itself."""
    for scan in scans:
        if scan.record.unit != store.HU:
            what = f"voxels are in the {scan.record.unit}, but {program} expects HU"
            raise FormatError(what, where=scan.folder, do="run with intensity.output = 'hu'", code="not-hounsfield")


def write_part(scan: ListedScan, part: str, path: Path) -> None:
    """Write a stored volume as NIfTI: a hard link to the run's file if that is one, or a copy without hard links."""
    if scan.format_of(part) != "nifti":
        scan_files.write(read_part(scan, part), path)
        return
    source = scan.folder / f"{part}{ENDING}"
    try:
        os.link(source, path)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, path)


def read_part(scan: ListedScan, part: str) -> Volume:
    """Read a stored volume; refuses a scan without it."""
    if (volume := scan.read(part)) is None:
        raise MissingInputError(f"has no {part}", where=scan.folder, do="run it again")
    return volume


def splits(scans: list[ListedScan]) -> list[dict[str, list[str]]]:
    """Give one split per fold; none if a scan has no fold, or all scans have the same."""
    folds = {scan.scan_id: scan.patient_fold for scan in scans}
    names = sorted(set(folds.values()), key=lambda fold: (len(fold), fold))
    if "" in names or len(names) < 2:
        return []
    return [
        {"train": [n for n, f in folds.items() if f != fold], "val": [n for n, f in folds.items() if f == fold]}
        for fold in names
    ]
