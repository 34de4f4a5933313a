"""Recognize the folders that hilum wrote, which are not searched for scans."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

RECIPE, LEDGER, RECORD = "recipe.toml", "ledger.jsonl", "scan.json"
"""The files of a run and a finished scan."""

_SIZE_LIMIT = 2**24
"""The most bytes of a record that are read."""


def output_kind(folder: Path, names: Collection[str] | None = None) -> str:
    """The kind of a folder that hilum wrote.

    Parameters
    ----------
    folder : Path
    names : collection of str, optional
        The names in the folder, if known.

    Returns
    -------
    str
        ``run``, ``scan`` (a finished scan's own folder), ``patches`` (or slices), ``export`` (for nnU-Net); empty for
        any other folder, and for one that does not exist or cannot be opened.
    """
    if names is None:
        try:
            names = set(os.listdir(folder))  # noqa: PTH208 - only names are needed
        except OSError:
            return ""
    if RECIPE in names and LEDGER in names:
        return "run"
    if RECORD in names and {"recipe_sha256", "fingerprint"} <= _keys(folder / RECORD):
        return "scan"
    if "summary.json" in names and "index.csv" in names and any(name.startswith("images_") for name in names):
        return "patches"
    if "dataset.json" in names and "imagesTr" in names and "hilum" in _keys(folder / "dataset.json"):
        return "export"
    return ""


def _keys(path: Path) -> set[str]:
    """The names in a JSON object; none for anything else."""
    try:
        with path.open("rb") as file:
            return set(msgspec.json.decode(file.read(_SIZE_LIMIT), type=dict[str, Any]))
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return set()
