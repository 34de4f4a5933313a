"""Commands on recipes."""

from pathlib import Path

from hilum.console import print_result


def list_() -> None:
    """List the built-in recipes."""
    from hilum.recipes import RECIPES

    print_result("\n".join(RECIPES))


def show(name: str, /) -> None:
    """Print a complete recipe as TOML, defaults included.

    Parameters
    ----------
    name
        Name of a built-in recipe, or a TOML file.
    """
    from hilum.recipes import recipe, recipe_toml

    print_result(recipe_toml(recipe(name)).rstrip())


def check(file: Path, /) -> None:
    """Check a recipe file.

    Parameters
    ----------
    file
        A TOML file.
    """
    from hilum.recipes import recipe, recipe_fingerprint

    print_result(f"{file}: a valid recipe, fingerprint {recipe_fingerprint(recipe(file))[:16]}")
