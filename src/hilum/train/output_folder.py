"""The output folder of ``hilum patches`` and ``hilum slices``."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hilum.errors import OutputError
from hilum.io.annotations.csv_tables import safe_cells
from hilum.io.atomic import atomic_folder, refusing_writes

INDEX = "index.csv"  # one row for each patch or slice

SUMMARY = "summary.json"  # marks a folder that `output_folder` may overwrite


def write_index(folder: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write the index of an output folder, safe for spreadsheets."""
    with (folder / INDEX).open("w", newline="", encoding="utf-8") as file:
        index = csv.writer(file, lineterminator="\n")
        index.writerow(columns)
        index.writerows(map(safe_cells, rows))


@contextmanager
def output_folder(out: Path, *, run: Path, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary folder that becomes `out` if the block raises no error.

    Refuses a folder among the scans of the run, one with other files, and, unless it may be overwritten, one with a
    `SUMMARY`.
    """
    another = "choose another --out"
    if out.resolve().is_relative_to((run / "scans").resolve()):
        raise OutputError("is among the scans of the run", where=out, do=another, code="exists")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not (out / SUMMARY).is_file():
            raise OutputError(f"is not an empty folder and has no {SUMMARY}", where=out, do=another, code="exists")
        if not overwrite:
            raise OutputError("holds an earlier result", where=out, do="give --overwrite", code="exists")
    with refusing_writes(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(out) as partial:
        yield partial
