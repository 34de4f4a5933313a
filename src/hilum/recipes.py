"""The recipe decides every result of a run, and is stored with it.

Defaults of the domain stand only here and in `hilum.recipe_sections`. A recipe is a TOML file with one section per
step; a key that it does not set has the value of the recipe ``default``.
"""

import hashlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import tomli_w

from hilum.errors import InputTypeError, RecipeError, name_type, one_line
from hilum.recipe_sections import (
    Compute,
    Intensity,
    Labels,
    Lungs,
    Nodules,
    Orient,
    Output,
    Quality,
    Read,
    Resample,
    Sections,
    convert,
    plain_values,
    refusal,
)


class Recipe(Sections, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every choice of a run, one section per step.

    In Python a section is a mapping of its keys; a key that is left out has the value of the recipe ``default``. Keys
    and values are checked at once, as those of a TOML file.

    Parameters
    ----------
    name : str, default "default"
        What the recipe is called in records and reports.
    read : mapping
        How files are read: gaps, tilt, rescale.
    orient : mapping
        Whether axes are turned to the patient's.
    resample : mapping
        The new grid, its spacing in mm, and the interpolation.
    lungs : mapping
        The method that segments lungs, and its options.
    nodules : mapping
        Whether nodules are marked, and on which readers' word.
    labels : mapping
        How label maps are placed.
    intensity : mapping
        HU, or a range of HU scaled to [0, 1].
    quality : mapping
        What an alarm does.
    output : mapping
        The format of the volumes.
    compute : mapping
        The number of threads; it does not change the result.

    Raises
    ------
    RecipeError
        If a section has no such key, or a value is out of range.

    Examples
    --------
    >>> import hilum
    >>> hilum.Recipe(name="fine", resample={"spacing_mm": 0.7}).resample.spacing_mm
    0.7
    """

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            name: str = ...,
            read: Read | Mapping[str, Any] = ...,
            orient: Orient | Mapping[str, Any] = ...,
            resample: Resample | Mapping[str, Any] = ...,
            lungs: Lungs | Mapping[str, Any] = ...,
            nodules: Nodules | Mapping[str, Any] = ...,
            labels: Labels | Mapping[str, Any] = ...,
            intensity: Intensity | Mapping[str, Any] = ...,
            quality: Quality | Mapping[str, Any] = ...,
            output: Output | Mapping[str, Any] = ...,
            compute: Compute | Mapping[str, Any] = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        """Convert and check the sections, which msgspec does for TOML alone, and fields against each other."""
        checked = convert(plain_values(msgspec.structs.asdict(self)), Sections, "recipe")
        for field in self.__struct_fields__:
            msgspec.structs.force_setattr(self, field, getattr(checked, field))
        if self.intensity.lower >= self.intensity.upper:
            raise RecipeError(f"intensity.lower {self.intensity.lower} is not below upper {self.intensity.upper}")

    def replace(self, **changes: Any) -> "Recipe":
        """Change some options.

        Parameters
        ----------
        **changes
            ``section__key=value`` changes one key; ``section={"key": value}`` changes several of a section. The other
            keys keep their values. ``name`` names the new recipe.

        Returns
        -------
        Recipe

        Raises
        ------
        RecipeError
            If there is no such section or key, or a value is out of range.

        Examples
        --------
        >>> import hilum
        >>> coarse = hilum.recipe("luna16").replace(name="coarse", resample__spacing_mm=2.0)
        >>> coarse.resample.spacing_mm, coarse.lungs.dilate_mm
        (2.0, 5.0)
        """
        values = plain_values(self)
        for name, value in changes.items():
            section, _, key = name.partition("__")
            new = {key: plain_values(value)} if key else plain_values(value)
            old = values.get(section)
            values[section] = old | new if isinstance(old, dict) and isinstance(new, dict) else new
        return convert(values, Recipe, "recipe")


RECIPES: dict[str, Recipe] = {
    "default": Recipe(),
    "tutorial2017": Recipe(
        name="tutorial2017",
        orient=Orient(axes="keep"),
        resample=Resample(grid="corner", antialias="off"),
        lungs=Lungs(method="tutorial3d", fallback=False),
        intensity=Intensity(output="unit", mean=0.25),
    ),
    "luna16": Recipe(name="luna16", lungs=Lungs(dilate_mm=5.0)),
}
"""The built-in recipes by name."""


def recipe(name_or_path: str | Path | Recipe = "default") -> Recipe:
    """Find a recipe by name, or read one from a TOML file.

    Parameters
    ----------
    name_or_path : str, Path or Recipe, default "default"
        A key of `RECIPES`, or the path of a ``.toml`` file. A recipe is returned as it is.

    Returns
    -------
    Recipe

    Raises
    ------
    RecipeError
        If there is no such name or file, or the file has an unknown option or a value out of range.
    InputTypeError
        If the argument has another type.

    Examples
    --------
    >>> import hilum
    >>> hilum.recipe("default").resample.spacing_mm
    1.0
    """
    if isinstance(name_or_path, Recipe):
        return name_or_path
    if isinstance(name_or_path, str) and name_or_path in RECIPES:
        return RECIPES[name_or_path]
    try:
        path = Path(name_or_path)
    except TypeError:
        do = f"give {', '.join(RECIPES)}, a .toml file, or hilum.Recipe(...)"
        raise InputTypeError(f"{name_type(name_or_path)} is no recipe", do=do) from None
    if path.suffix.lower() != ".toml":
        what = f"no recipe of this name, expected {', '.join(RECIPES)}"
        raise RecipeError(what, where=str(name_or_path), do="or give a .toml file")
    try:
        if path.exists() and not path.is_file():
            raise RecipeError("is not a regular file", where=path, do="give a .toml file")
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as problem:
        raise RecipeError(f"cannot be read: {one_line(problem, limit=120)}", where=path) from None
    return parse_recipe(text, where=path)


def parse_recipe(text: str, *, where: str | Path = "recipe") -> Recipe:
    """Read a recipe from TOML text, which errors call `where`; refuses what `recipe` refuses."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise refusal(problem, where) from None
    return convert(values, Recipe, where)


def recipe_toml(chosen: Recipe) -> str:
    """Write a recipe, defaults included, as TOML that `parse_recipe` reads back to the same value."""
    return tomli_w.dumps(msgspec.to_builtins(chosen))


def recipe_fingerprint(chosen: Recipe) -> str:
    """Hash everything in a recipe that decides the result: all but its name and the number of threads.

    Parameters
    ----------
    chosen : Recipe
        The recipe.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    values: dict[str, Any] = msgspec.to_builtins(chosen)
    decisive = {k: v for k, v in values.items() if k not in {"name", "compute"}}
    if decisive["output"]["series_uid"] == "keep":  # older versions had no such key: their runs stay valid
        del decisive["output"]["series_uid"]
    if not chosen.resample.may_smooth:  # as above
        del decisive["resample"]["antialias"]
    if chosen.nodules.min_readers == 1:  # as above
        del decisive["nodules"]["min_readers"]
    for key in ("tilt", "rescale", "hu_offset"):
        if getattr(chosen.read, key) == getattr(Read(), key):
            del decisive["read"][key]
    for section in ("quality", "labels"):
        if getattr(chosen, section) == getattr(Recipe(), section):
            del decisive[section]
    return hashlib.sha256(msgspec.json.encode(decisive, order="deterministic")).hexdigest()


def with_options(recipe: Recipe, *, file_format: str | None = None, **read: Any) -> Recipe:
    """Apply options of the command line to a recipe: ``--format``, and keys of the section ``read``; None changes none.

    Raises
    ------
    RecipeError
        If a value is out of range.
    """
    changed = plain_values(recipe)
    if file_format is not None:
        changed["output"]["format"] = file_format
    changed["read"] |= {key: value for key, value in read.items() if value is not None}
    return convert(changed, Recipe, "options of the command line")
