"""The output folder of a run: its lock, and its recipe."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
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
    """Write the recipe, unless the folder has results of another one.

    Parameters
    ----------
    out : Path
        The output folder.
    recipe : Recipe
    overwrite : bool
        Write it even then.

    Raises
    ------
    OutputError
        If the folder has results of another recipe.
    """
    path, text = out / RECIPE, recipe_toml(recipe)
    try:
        before = recipe_text(out)
    except InputError:  # missing or damaged: each scan's own record names its recipe
        before = ""
    if before == text:
        return
    scans = out / "scans"
    finished = scans.is_dir() and any(not path.name.startswith(".") for path in scans.iterdir())
    if before and finished and not overwrite and _is_as_written(path):
        with suppress(RecipeError):  # it is damaged
            if recipe_fingerprint(parse_recipe(before)) != recipe_fingerprint(recipe):
                do = "give --overwrite to replace them, or another --out"
                raise OutputError("holds results of another recipe", where=out, do=do, code="exists")
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _is_as_written(path: Path) -> bool:
    """Check a run's recipe against its checksum. A damaged recipe is ignored, because each scan's record names one."""
    try:
        return checksums.read_checksums(path.parent).get(path.name) in {None, checksums.file_sha256(path)}
    except InputError:
        return True


@contextmanager
def locked_output(out: Path) -> Iterator[str]:
    """Create and lock an output folder, and remove unfinished files before and after; yield as `output_lock` does.

    Raises
    ------
    OutputError
        If the folder cannot be created, its ``scans`` is a link, or another run holds the lock.
    """
    try:
        scans = scans_folder(out)
        scans.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise write_refused("", problem, where=out) from None
    with output_lock(out) as name, ExitStack() as stack:
        for folder in (scans, out):
            sweep(folder)
            stack.callback(sweep, folder)
        yield name
