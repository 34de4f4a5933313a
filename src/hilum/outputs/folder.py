"""The files of a run's output folder, and the check that a new run would not overwrite anything else."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from hilum.errors import FormatError, InputError, MissingInputError, OutputError
from hilum.io import files, folders
from hilum.outputs import checksums, corrections, dataset_summary, folds, ledger, scans_index

OWN_FILES = (folders.RECIPE, dataset_summary.NAME, scans_index.NAME)
"""The files in ``SHA256SUMS`` after a run has ended; the lines of the ledger have their own checksums."""

ADDED_LATER = frozenset({scans_index.NAME})
"""The files of these that outputs of older versions do not have; ``SHA256SUMS`` shows whether they should exist."""


def recipe_text(out: Path) -> str:
    """Read the recipe in a run's output folder.

    Parameters
    ----------
    out : Path
        The output folder.

    Returns
    -------
    str
        TOML; it may be damaged.

    Raises
    ------
    InputError
        If it is missing, not a regular file, too large for a recipe, or not text.
    """
    path = out / folders.RECIPE
    try:
        return files.read_small(path, limit=1 << 20).decode()
    except UnicodeDecodeError:
        raise FormatError("is not UTF-8 text", where=path, do=checksums.RERUN) from None


def own_files(sums: Mapping[str, str]) -> list[str]:
    """Name the own files that a run with these checksums (`hilum.outputs.checksums.read_checksums`) should have."""
    return [name for name in OWN_FILES if name not in ADDED_LATER or name in sums]


def own_file_problems(out: Path, sums: Mapping[str, str]) -> Iterator[InputError]:
    """Compare a run's own files with their checksums.

    Parameters
    ----------
    out : Path
        The output folder.
    sums : mapping of str to str
        From `hilum.outputs.checksums.read_checksums`; if empty, only missing files are reported.

    Yields
    ------
    InputError
        One for each file that is missing or has changed.
    """
    for name in own_files(sums):
        path = out / name
        if not path.is_file():
            yield MissingInputError("is missing", where=path, do=checksums.RERUN)
        elif sums and not _matches(path, sums.get(name, "")):
            yield FormatError(f"does not match {checksums.NAME}", where=path, do=checksums.RERUN, code="checksum")


def _matches(path: Path, sha256: str) -> bool:
    try:
        return checksums.file_sha256(path) == sha256
    except (OSError, ValueError):
        return False


def check_output_folder(out: Path, inputs: Iterable[Path] = ()) -> None:
    """Refuse an output folder that is an input of the run, or holds files that are not of a run.

    Parameters
    ----------
    out : Path
        It may be missing, empty, or a finished or unfinished run.
    inputs : iterable of Path
        The files and folders that the run reads.

    Raises
    ------
    OutputError
        If it is an input, or holds files that no run wrote.
    """
    if os.path.realpath(out) in map(os.path.realpath, inputs):
        raise OutputError("is also the input", where=out, do="choose another --out", code="exists")
    try:
        names = {name for name in os.listdir(out) if not name.startswith(".")}  # noqa: PTH208 - names only
        scans = set(os.listdir(out / "scans")) if "scans" in names else set()  # noqa: PTH208
    except OSError:  # missing, or the run will refuse it
        return
    if ledger.NAME in names or not names:
        return
    foreign = names - _RUN_NAMES or {name for name in scans if not name.startswith(".") and not _is_scan(out, name)}
    if foreign:
        what = f"contains {len(foreign)} files or folders that no run wrote"
        raise OutputError(what, where=out, do="choose a new or empty folder for --out", code="exists")


_RUN_NAMES = {
    *OWN_FILES,
    checksums.NAME,
    folds.NAME,
    "scans",
    "report.html",
    "review.csv",
    corrections.NAME,
    corrections.FOLDER,
}


def _is_scan(out: Path, name: str) -> bool:
    """Check that an entry of ``scans`` is the folder of a scan; it may be damaged."""
    folder = out / "scans" / name
    return (folder / "scan.json").is_file() or any(folder.glob("ct.*"))
