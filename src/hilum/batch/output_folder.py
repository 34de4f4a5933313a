"""The place of a run: its output folder, held by one run at a time, and the recipe that made what lies there."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from hilum.batch.lock import output_lock
from hilum.errors import InputError, OutputError, RecipeError
from hilum.io.atomic import atomic_path, write_refused
from hilum.io.output_kinds import RECIPE
from hilum.io.unfinished import sweep
from hilum.outputs import checksums
from hilum.outputs.finished import scans_folder
from hilum.outputs.folder import recipe_text
from hilum.recipes import Recipe, parse_recipe, recipe_fingerprint, recipe_toml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def write_recipe(out: Path, recipe: Recipe, *, overwrite: bool) -> None:
    """Write the recipe; refuse a folder whose results are of another one, unless they may go.

    Parameters
    ----------
    out : Path
        The output folder.
    recipe : Recipe
    overwrite : bool

    Raises
    ------
    OutputError
        If it holds results of another recipe.
    """
    path, text = out / RECIPE, recipe_toml(recipe)
    try:
        before = recipe_text(out)
    except InputError:  # there is none, or it is damaged: each scan's own record says which recipe made it
        before = ""
    if before == text:
        return
    finished = any(not name.startswith(".") for name in _names(out / "scans"))
    if before and finished and not overwrite and _is_as_written(path):
        try:
            same = recipe_fingerprint(parse_recipe(before)) == recipe_fingerprint(recipe)
        except RecipeError:
            same = True  # damaged: each scan's own record says which recipe made it
        if not same:
            raise OutputError("holds results of another recipe", where=out,
                              do="give --overwrite to replace them, or another --out", code="exists")  # fmt: skip
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _is_as_written(path: Path) -> bool:
    """Whether a run's recipe is what its checksum says; a damaged one decides nothing, each scan's record does."""
    try:
        return checksums.read_checksums(path.parent).get(path.name) in {None, checksums.file_sha256(path)}
    except InputError:
        return True


@contextmanager
def locked_output(out: Path) -> Iterator[str]:
    """Hold an output folder, made where it is not there, and leave no half-written thing in it.

    Parameters
    ----------
    out : Path

    Yields
    ------
    str
        The name of this run, as `hilum.batch.lock.output_lock` gives it.

    Raises
    ------
    OutputError
        If it cannot be made, its ``scans`` is a link, or another run holds it.
    """
    try:
        scans = scans_folder(out)
        scans.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise write_refused("", problem, where=out) from None
    with output_lock(out) as name:
        for folder in (out, scans):
            sweep(folder)
        try:
            yield name
        finally:
            for folder in (out, scans):
                sweep(folder)


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []
