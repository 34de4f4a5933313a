"""What a run leaves in its folder, and which folders hilum wrote: none is searched, none put over something else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hilum.errors import FormatError, OutputError
from hilum.io.files import read_small
from hilum.io.output_kinds import RECIPE
from hilum.outputs import checksums, dataset_summary, ledger, scans_index
from hilum.outputs.finished import AGAIN

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


OWN_FILES = (RECIPE, dataset_summary.NAME, scans_index.NAME)
"""What `hilum.outputs.checksums` keeps the checksums of when a run has ended; the ledger's lines check themselves."""

ADDED_LATER = frozenset({scans_index.NAME})
"""Those that outputs of older versions lack; their checksums tell."""

_LONGEST_RECIPE = 1 << 20


def recipe_text(out: Path) -> str:
    """Read the recipe that a run left in its output folder.

    Parameters
    ----------
    out : Path

    Returns
    -------
    str
        TOML; it may be damaged.

    Raises
    ------
    InputError
        If there is none, or it is no regular file, too long for a recipe, or not text.
    """
    path = out / RECIPE
    try:
        return read_small(path, limit=_LONGEST_RECIPE).decode()
    except UnicodeDecodeError:
        raise FormatError("is no text", where=path, do=AGAIN) from None


def check_output_folder(out: Path, inputs: Iterable[Path] = ()) -> None:
    """Refuse an output folder that a run would spoil: one of its inputs, or a folder that holds something else.

    Parameters
    ----------
    out : Path
        It may be missing, empty, or a run, whole or begun.
    inputs : iterable of Path

    Raises
    ------
    OutputError
        If it is an input, or holds what no run wrote.
    """
    place = os.path.realpath(out)
    if any(os.path.realpath(path) == place for path in inputs):
        raise OutputError("is the input too", where=out, do="choose another --out", code="exists")
    try:
        names = {name for name in os.listdir(out) if not name.startswith(".")}  # noqa: PTH208 - as below
        begun = set(os.listdir(out / "scans")) if "scans" in names else set()  # noqa: PTH208
    except OSError:  # not there yet, or the run's to refuse
        return
    if ledger.NAME in names or not names:
        return
    strange = names - _OF_A_RUN or {name for name in begun if not name.startswith(".") and not _is_scan(out, name)}
    if strange:
        what = f"holds {len(strange)} things that no run wrote"
        raise OutputError(what, where=out, do="choose a new or empty folder for --out", code="exists")


_OF_A_RUN = {*OWN_FILES, checksums.NAME, "scans", "report.html", "review.csv"}


def _is_scan(out: Path, name: str) -> bool:
    """Whether a folder among a run's scans is one of them, if a damaged one."""
    place = out / "scans" / name
    return (place / "scan.json").is_file() or any(place.glob("ct.*"))
