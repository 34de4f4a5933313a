"""Commands on recipes."""

from __future__ import annotations

from pathlib import Path

from hilum.cli.status import ALL_WELL
from hilum.console import print_result


def list_() -> int:
    """List the built-in recipes."""
    from hilum.recipes import RECIPES

    print_result("\n".join(RECIPES))
    return ALL_WELL


def show(name: str, /) -> int:
    """Print a complete recipe as TOML, defaults included.

    Parameters
    ----------
    name
        Name of a built-in recipe, or a TOML file.
    """
    from hilum.recipes import recipe, recipe_toml

    print_result(recipe_toml(recipe(name)).rstrip())
    return ALL_WELL


def check(file: Path, /) -> int:
    """Check a recipe file.

    Parameters
    ----------
    file
        A TOML file.
    """
    from hilum.recipes import recipe, recipe_fingerprint

    print_result(f"{file}: a valid recipe, fingerprint {recipe_fingerprint(recipe(file))[:16]}")
    return ALL_WELL
