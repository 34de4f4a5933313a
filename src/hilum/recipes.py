"""The recipe: one frozen value that decides everything a run does, and travels with its result.

This is the only place with defaults of the domain. A recipe is written as TOML, one section a step; what a
file leaves out is as in ``default``.
"""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from hilum.errors import RecipeError, one_line

_COARSEST_MM = 100.0

Hounsfield = Annotated[float, Meta(ge=-32768, le=32767)]


LUNG_METHOD = r"^(hilum|tutorial3d|tutorial2d|none|onnx:[^\x00-\x1f\x7f]{1,4000})$"
"""The lung methods: a name, or ``onnx:`` and the path of a model."""


class Read(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a series is read: neighboring slices up to ``max_gap_mm`` apart are bridged where some are missing between.

    What is missing is interpolated linearly along z and noted; a wider gap is refused, and 0 refuses every gap.
    """

    max_gap_mm: Annotated[float, Meta(ge=0, le=100)] = 5.0


class Orient(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the array axes lie in the patient: ``patient`` turns them to head, back and left; ``keep`` does not."""

    axes: Literal["patient", "keep"] = "patient"


class Resample(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The grid of the output; ``spacing_mm`` is one number or (z, y, x), and ``native`` keeps the scan's own grid."""

    grid: Literal["center", "corner", "native"] = "center"
    spacing_mm: float | tuple[float, float, float] = 1.0
    order: Literal[0, 1, 3] = 3

    def __post_init__(self) -> None:
        """Check the range by hand: msgspec 0.22 reads wild memory for a bounded float beside a tuple."""
        values = self.spacing_mm if isinstance(self.spacing_mm, tuple) else (self.spacing_mm,)
        if not all(0 < value <= _COARSEST_MM for value in values):
            raise ValueError(
                f"resample.spacing_mm is {self.spacing_mm}, expected more than 0 and at most {_COARSEST_MM}"
            )


class Lungs(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The lung mask: its method (``none`` for no mask, ``onnx:PATH`` for a model), vessels filled or not, growth in mm.

    ``pathology`` keeps consolidated lung or not, and ``airways`` labels windpipe and main bronchi with 3, both in the
    method hilum alone; ``background`` is what tutorial3d takes for the air around the patient.

    With ``fallback`` a mask that is probably wrong makes hilum try other settings, and say so.
    """

    method: Annotated[str, Meta(pattern=LUNG_METHOD)] = "hilum"
    fill: bool = True
    dilate_mm: Annotated[float, Meta(ge=0, le=50)] = 0.0
    pathology: Literal["include", "exclude"] = "include"
    airways: bool = False
    background: Literal["corner", "sides"] = "corner"
    fallback: bool = True

    def __post_init__(self) -> None:
        """Refuse options that the method does not have."""
        if self.method != "hilum" and (self.pathology != "include" or self.airways):
            raise ValueError(f"lungs.pathology and lungs.airways are of the method hilum, not of {self.method}")
        if self.method != "tutorial3d" and self.background != "corner":
            raise ValueError(f"lungs.background is of the method tutorial3d, not of {self.method}")


class Nodules(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether nodule masks are drawn where annotations are given; of outlines, where a share of their readers agree.

    ``contour_pixel`` says whether the pixels on an outline belong to the nodule: LIDC's readers kept outside of it.
    """

    mask: bool = True
    consensus: Annotated[float, Meta(gt=0, le=1)] = 0.5
    contour_pixel: Literal["exclude", "include"] = "exclude"


class Intensity(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``hu`` writes int16 Hounsfield units; ``unit`` maps [lower, upper] HU to [0, 1], minus ``mean``, as float32."""

    output: Literal["hu", "unit"] = "hu"
    lower: Hounsfield = -1000.0
    upper: Hounsfield = 400.0
    mean: Annotated[float, Meta(ge=-1, le=1)] = 0.0


class Quality(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether a scan with an alarm, which says that something is probably wrong, is kept or refused."""

    alarms: Literal["keep", "refuse"] = "keep"


class Output(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file format of volumes and masks, and whether the Series Instance UID leaves with them.

    ``hash`` writes another UID in its place everywhere, made from it by SHA-256: results of one series still find each
    other, and who has the series can tell them.
    """

    format: Literal["nifti", "npy", "zarr", "b2nd"] = "nifti"
    series_uid: Literal["keep", "hash"] = "keep"


class Compute(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Threads inside one scan, 0 for one per core; the result does not depend on it."""

    workers: Annotated[int, Meta(ge=0, le=1024)] = 0


class Recipe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every choice of a run, one section a step."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = "default"
    read: Read = Read()
    orient: Orient = Orient()
    resample: Resample = Resample()
    lungs: Lungs = Lungs()
    nodules: Nodules = Nodules()
    intensity: Intensity = Intensity()
    quality: Quality = Quality()
    output: Output = Output()
    compute: Compute = Compute()

    def __post_init__(self) -> None:
        """Check what no single field can tell."""
        if self.intensity.lower >= self.intensity.upper:
            raise ValueError(f"intensity.lower {self.intensity.lower} is not below upper {self.intensity.upper}")


RECIPES: dict[str, Recipe] = {
    "default": Recipe(),
    "tutorial2017": Recipe(
        name="tutorial2017",
        orient=Orient(axes="keep"),
        resample=Resample(grid="corner"),
        lungs=Lungs(method="tutorial3d", fallback=False),
        intensity=Intensity(output="unit", mean=0.25),
    ),
    "luna16": Recipe(name="luna16", lungs=Lungs(dilate_mm=5.0)),
}
"""The recipes that ship, by name."""


def recipe(name_or_path: str | Path = "default") -> Recipe:
    """Find a recipe by name, or read one from a TOML file.

    Parameters
    ----------
    name_or_path : str or Path
        A key of `RECIPES`, or the path of a ``.toml`` file.

    Returns
    -------
    Recipe

    Raises
    ------
    RecipeError
        If there is no such name or file, or the file has an unknown option or a value out of range.

    Examples
    --------
    >>> recipe("default").resample.spacing_mm
    1.0
    """
    if isinstance(name_or_path, str) and name_or_path in RECIPES:
        return RECIPES[name_or_path]
    path = Path(name_or_path)
    if path.suffix.lower() != ".toml":
        known = ", ".join(RECIPES)
        raise RecipeError(
            f"no recipe of this name; there are {known}", where=str(name_or_path), do="or name a .toml file"
        )
    try:
        if path.exists() and not path.is_file():
            raise RecipeError("is not a regular file", where=path, do="give a .toml file")
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as problem:
        raise RecipeError(f"cannot be read: {one_line(problem, limit=120)}", where=path) from None
    return parse_recipe(text, where=path)


def parse_recipe(text: str, *, where: str | Path = "recipe") -> Recipe:
    """Read a recipe from TOML text.

    Parameters
    ----------
    text : str
        TOML; what it leaves out is as in the recipe ``default``.
    where : str or Path
        What the text is called in errors.

    Returns
    -------
    Recipe

    Raises
    ------
    RecipeError
        If it is not TOML, has an unknown option or a value out of range.
    """
    try:
        return msgspec.convert(tomllib.loads(text), Recipe)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as problem:
        raise RecipeError(
            one_line(problem, limit=150), where=where, do="see 'hilum recipe show default' for every option"
        ) from None


def recipe_toml(chosen: Recipe) -> str:
    """Write a recipe as TOML, defaults included.

    Parameters
    ----------
    chosen : Recipe

    Returns
    -------
    str
        TOML that `parse_recipe` reads back to the same value.
    """
    import tomli_w

    return tomli_w.dumps(msgspec.to_builtins(chosen))


def recipe_fingerprint(chosen: Recipe) -> str:
    """Hash of everything in a recipe that decides the result: not its name, nor the number of threads.

    Parameters
    ----------
    chosen : Recipe

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    values: dict[str, Any] = msgspec.to_builtins(chosen)
    decisive = {k: v for k, v in values.items() if k not in {"name", "compute"}}
    if decisive["output"]["series_uid"] == "keep":  # as before there was this choice: finished runs stay valid
        del decisive["output"]["series_uid"]
    if chosen.quality == Quality():
        del decisive["quality"]
    return hashlib.sha256(msgspec.json.encode(decisive, order="deterministic")).hexdigest()


def with_options(recipe: Recipe, *, file_format: str | None = None, threads: int | None = None) -> Recipe:
    """Change what a command line may change of a recipe.

    Parameters
    ----------
    recipe : Recipe
    file_format : str, optional
        Of volumes and masks.
    threads : int, optional
        Inside one scan.

    Returns
    -------
    Recipe
    """
    changed = msgspec.to_builtins(recipe)
    if file_format is not None:
        changed["output"]["format"] = file_format
    if threads is not None:
        changed["compute"]["workers"] = threads
    return msgspec.convert(changed, Recipe)
