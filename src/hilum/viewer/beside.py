"""What is shown beside a scan: the input of its run, the same series in another run, or another scan."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import hilum
from hilum.errors import InputError, RecipeError
from hilum.io.names import hashed_uid, is_uid
from hilum.io.read_options import ReadOptions
from hilum.ops.intensity import UnitRange
from hilum.outputs import ledger, store
from hilum.outputs.folder import recipe_text
from hilum.recipes import parse_recipe
from hilum.runs.run import Run, open_run
from hilum.runs.run_scan import RunScan
from hilum.scan_ref import ScanRef
from hilum.volume import Volume


@dataclass(frozen=True, eq=False)
class Beside:
    """A volume beside a scan; the page couples both in world mm.

    Parameters
    ----------
    names : (str, str)
        What the page calls the scan, and the volume beside it.
    load : callable
        Reads the volume, with the options with which the run of the scan read its input.
    """

    names: tuple[str, str]
    load: Callable[[ReadOptions], Volume]


def inputs_beside(path: Path) -> dict[str, Beside]:
    """The scans of a run's input by scan id. A run does not store input paths, which can name patients."""
    from hilum import batch

    return {ref.scan_id: Beside(("after", "before"), _input(ref)) for ref in batch.index([path])[0]}


def _input(ref: ScanRef) -> Callable[[ReadOptions], Volume]:
    def load(options: ReadOptions) -> Volume:
        from hilum.datasets import DATASETS

        return DATASETS[ref.dataset].load(ref, options=options).ct

    return load


def run_beside(folder: Path, path: Path, uids: Mapping[str, str]) -> dict[str, Beside]:
    """The scans of another run by the ids of this one: those of the same series, else those of the same id.

    Parameters
    ----------
    folder : Path
        This run.
    path : Path
        The other run.
    uids : mapping of str to str
        By the ids of this run's scans: their series UID, which may be hashed.

    Raises
    ------
    InputError
        If the runs have no series in common.
    """
    if not (path / ledger.NAME).is_file():
        what, do = "a run can only be compared with another run", "give the output folder of 'hilum run'"
        raise InputError(what, where=path, do=do, code="option")
    other = open_run(path)
    known = {scan.valid_record.series_uid: scan for scan in other if scan.valid_record is not None}
    by_uid, by_id = _with_hashes(known), {scan.scan_id: scan for scan in other}
    names = _different(folder.resolve().name, path.resolve().name)
    found = {}
    for scan_id, uid in uids.items():
        same = next((by_uid[one] for one in _with_hashes({uid: None}) if one in by_uid), by_id.get(scan_id))
        if same is not None:
            found[scan_id] = Beside(names, _stored(other, same.scan_id))
    if not found:
        what = f"no series of the run is among the {len(other)} finished scans of this one"
        raise InputError(what, where=path, do="give a run of the same scans", code="no-row-fits")
    return found


def scan_beside(name: str, path: Path, **options: Any) -> Beside:
    """Another scan beside a scan of this name; it is read at once, so that it is refused before a browser starts."""
    if (path / ledger.NAME).is_file():
        what, do = "a scan can only be compared with another scan", "give a DICOM folder or a volume file"
        raise InputError(what, where=path, do=do, code="option")
    volume = hilum.read(path, **options).ct
    return Beside(_different(name, path.resolve().name), lambda _: volume)


def hu_of_run(ct: Volume, unit: str, recipe: str) -> tuple[Volume, str]:
    """Convert values of a run's unit range back to HU, if its recipe can be read; return the unit too."""
    if unit != store.UNIT_RANGE:
        return ct, unit
    try:
        step = parse_recipe(recipe).intensity
    except RecipeError:
        return ct, unit
    scale = UnitRange(step.lower, step.upper, step.mean)
    return Volume(np.rint(scale.to_hu(ct.array)).astype(np.int16), ct.geometry), store.HU


def _stored(run: Run, scan_id: str) -> Callable[[ReadOptions], Volume]:
    def load(_: ReadOptions) -> Volume:
        scan: RunScan = run[scan_id]  # it compares its files with their checksums, and its record with the ledger
        return hu_of_run(scan.ct, scan.record.unit, recipe_text(run.folder))[0]

    return load


def _with_hashes(scans: Mapping[str, Any]) -> dict[str, Any]:
    """By series UID, and by its hash: one of the runs may hide it."""
    hashes = {hashed_uid(uid): scan for uid, scan in scans.items() if is_uid(uid)}
    return {uid: scan for uid, scan in (*scans.items(), *hashes.items()) if uid}


def _different(one: str, other: str) -> tuple[str, str]:
    """The names of two folders or files, told apart where they are the same."""
    return (one, other) if one != other else (f"{one} (first)", f"{other} (second)")
