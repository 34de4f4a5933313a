"""The ledger of a run: one line per scan that went in, whatever became of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

import msgspec

from hilum.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Status = Literal["done", "repaired", "refused", "failed"]

NAME = "ledger.jsonl"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one scan.

    ``done``: all well; ``repaired``: written, after something odd was mended or passed over, which `notes` names;
    ``refused``: the input cannot be trusted, `reason` says why; ``failed``: hilum or the machine broke.
    """

    id: str
    status: Status
    code: str = ""
    reason: str = ""
    seconds: float = 0.0
    notes: list[str] = []
    fingerprint: str = ""


def read_ledger(folder: Path) -> dict[str, Row]:
    """Read a run's ledger; the last line of an id counts, and a line cut off by a crash does not.

    Parameters
    ----------
    folder : Path
        The run's output folder.

    Returns
    -------
    dict of str to Row
        By scan id; empty where there is no ledger.
    """
    rows: dict[str, Row] = {}
    try:
        lines = (folder / NAME).read_bytes().splitlines()
    except FileNotFoundError:
        return rows
    for line in lines:
        try:
            row = msgspec.json.decode(line, type=Row)
        except msgspec.DecodeError:
            continue
        rows[row.id] = row
    return rows


def append_row(folder: Path, row: Row) -> None:
    """Add one line to a run's ledger, and have it on the disk before going on.

    Parameters
    ----------
    folder : Path
        The run's output folder.
    row : Row

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    try:
        with (folder / NAME).open("ab") as file:
            file.write(msgspec.json.encode(row) + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as problem:
        raise _refused(folder, problem) from None


def rewrite_ledger(folder: Path, rows: Iterable[Row]) -> None:
    """Replace a run's ledger by one line per scan, at one stroke.

    Parameters
    ----------
    folder : Path
        The run's output folder.
    rows : iterable of Row

    Raises
    ------
    OutputError
        If it cannot be written; the old ledger stays.
    """
    partial = folder / f".{NAME}-{os.getpid()}"
    try:
        with partial.open("wb") as file:
            file.writelines(msgspec.json.encode(row) + b"\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(folder / NAME)
    except OSError as problem:
        partial.unlink(missing_ok=True)
        raise _refused(folder, problem) from None


def _refused(folder: Path, problem: OSError) -> OutputError:
    reason = problem.strerror or str(problem)
    return OutputError(f"the ledger cannot be written: {reason}", where=folder / NAME, do="check space and permissions")
