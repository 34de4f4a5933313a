"""Commands on recipes."""

from __future__ import annotations

from pathlib import Path

from hilum.cli.status import ALL_WELL
from hilum.console import say


def list_recipes() -> int:
    """List the recipes that ship."""
    from hilum.recipes import RECIPES

    say("\n".join(RECIPES))
    return ALL_WELL


def show(name: str, /) -> int:
    """Print a whole recipe as TOML, defaults included.

    Parameters
    ----------
    name
        Of a recipe that ships, or a TOML file.
    """
    from hilum.recipes import recipe, recipe_toml

    say(recipe_toml(recipe(name)).rstrip())
    return ALL_WELL


def check(file: Path, /) -> int:
    """Check a recipe file.

    Parameters
    ----------
    file
        A TOML file.
    """
    from hilum.recipes import recipe, recipe_fingerprint

    say(f"{file}: a valid recipe, fingerprint {recipe_fingerprint(recipe(file))[:16]}")
    return ALL_WELL
