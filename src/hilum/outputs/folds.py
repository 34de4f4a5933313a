"""``folds.json``: the fold of each scan of a run. It lies beside the scans, so that other folds change no scan."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec

from hilum.errors import FormatError, InputError, one_line
from hilum.io import atomic, files
from hilum.outputs.records import is_plain_name, json_bytes

NAME = "folds.json"

LABELS = frozenset({"fold", "patient_fold"})  # the labels of data sets that ``folds.json`` replaces

AGAIN = "make the folds again: hilum folds OUT --overwrite"

_MAX_BYTES = 1 << 28


class ScanFold(msgspec.Struct, frozen=True, kw_only=True):
    """A scan's fold, its patient (a public case, or a number of this file), and the stratum of the patient."""

    fold: int
    patient: str
    stratum: str = ""


class FoldsRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``folds.json``: how many folds were made, how, and each scan's, by its id."""

    version: str
    folds: int
    seed: int
    stratify: str
    scans: dict[str, ScanFold]

    def __post_init__(self) -> None:
        """Refuse folds that are out of range, and a patient in several of them."""
        fold_of: dict[str, int] = {}
        for name, scan in self.scans.items():
            if not is_plain_name(name) or not 0 <= scan.fold < self.folds:
                raise ValueError("a scan's id or fold is out of range")
            if fold_of.setdefault(scan.patient, scan.fold) != scan.fold:
                raise ValueError("a patient is in several folds")


def read_folds(folder: Path) -> FoldsRecord | None:
    """Read the ``folds.json`` of a run; None without one.

    Raises
    ------
    FormatError, InputError
        If it is malformed, too large, a link, or not a regular file.
    """
    path = folder / NAME
    if not path.exists() and not path.is_symlink():
        return None
    try:
        return msgspec.json.decode(files.read_small(path, limit=_MAX_BYTES), type=FoldsRecord)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise FormatError(f"is not a list of folds: {problem}", where=path, do=AGAIN, code="folds") from None


@dataclass(frozen=True, eq=False)
class FoldsFile:
    """The ``folds.json`` of a run, read when a fold is first asked for; all scans of a run share it."""

    folder: Path
    finished: tuple[str, ...]

    @cached_property
    def _scans(self) -> dict[str, ScanFold]:
        if (record := read_folds(self.folder)) is None:
            return {}
        if without := [name for name in self.finished if name not in record.scans]:
            what = f"has no fold for {len(without)} of {len(self.finished)} finished scans, such as {without[0]}"
            raise InputError(what, where=self.folder / NAME, do=AGAIN, code="folds")
        return record.scans

    def fold_of(self, scan_id: str) -> str:
        """Look up the fold of a scan; empty without ``folds.json``, `InputError` if it lacks a finished scan."""
        return str(self._scans[scan_id].fold) if scan_id in self._scans else ""


def label_text(value: object) -> str:
    """Write a label of a data set as the name of a fold; empty if it is no whole number or text."""
    return one_line(value, limit=32) if isinstance(value, str | int) else ""


def write_folds(folder: Path, record: FoldsRecord) -> None:
    """Write the ``folds.json`` of a run; `OutputError` if that fails."""
    with atomic.atomic_path(folder / NAME) as partial:
        partial.write_bytes(json_bytes(record))
