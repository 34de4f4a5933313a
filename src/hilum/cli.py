"""The command line: a command parses, calls once, prints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

import hilum
from hilum.console import balance, complain, describe, progress, say, warn
from hilum.errors import HilumError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hilum.scan import Scan

ALL_WELL, REFUSED, USAGE, INTERRUPTED = 0, 1, 2, 130

app = App(
    name="hilum",
    help="Chest CT scans in, training-ready and geometry-true data out.",
    version=hilum.__version__,
    help_format="plaintext",  # a renderer of markup costs more than all the rest of the start
)
recipes = App(name="recipe", help="Look at recipes, and check your own.", help_format="plaintext")
app.command(recipes)

Method = Literal["hilum", "tutorial3d", "tutorial2d"]


@app.command
def run(
    inputs: Annotated[list[Path], Parameter(negative="")],
    /,
    *,
    out: Path,
    recipe: str = "default",
    file_format: Annotated[Literal["nifti", "npy"] | None, Parameter(name="--format")] = None,
    dataset: Literal["auto", "folder"] = "auto",
    annotations: Path | None = None,
    workers: int = 1,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Preprocess scans: files, folders or whole data sets into training-ready output.

    Parameters
    ----------
    inputs
        DICOM folders, volume files, or folders of them.
    out
        The output folder.
    recipe
        Name of a recipe that ships, or a TOML file; see 'hilum recipe list'.
    file_format
        Format of volumes and masks, in place of the recipe's.
    dataset
        Kind of input.
    annotations
        A LUNA16 annotations.csv.
    workers
        Scans at a time, each in its own process; 0 for one per core.
    overwrite
        Replace finished scans of another recipe or input.
    """
    from hilum import batch
    from hilum.recipes import recipe as find_recipe
    from hilum.recipes import with_options

    chosen = with_options(find_recipe(recipe), file_format=file_format)
    refs, refused = batch.index(inputs, dataset=dataset, annotations=annotations)
    for row in refused:
        complain(row.reason)
    if not refs:
        return REFUSED
    with progress(len(refs) + len(refused)) as report:
        rows = batch.run(refs, chosen, out, workers=workers, overwrite=overwrite, refused=refused, report=report)
    say(balance(rows, out))
    return ALL_WELL if all(row.status in {"done", "repaired"} for row in rows) else REFUSED


@app.command
def demo(*, out: Path = Path("hilum-demo")) -> int:
    """Make a phantom scan, preprocess it and draw a picture: no input needed.

    Parameters
    ----------
    out
        The folder to fill.
    """
    from hilum.demo import demo as make

    say(make(out))
    return ALL_WELL


@app.command
def info(source: Path, /, *, json: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Say what a file or folder holds, what is odd about it, and what would be done.

    Parameters
    ----------
    source
        A DICOM folder or a volume file.
    json
        Print JSON for programs in place of text.
    """
    from hilum.io.inspect import inspect, inspection_json, inspection_text

    found = inspect(source)
    say(inspection_json(found) if json else inspection_text(found))
    return ALL_WELL if any(series.usable for series in found) else REFUSED


@app.command
def convert(source: Path, output: Path, /, *, series: str = "", slice_spacing_mm: float | None = None) -> int:
    """Write a scan in Hounsfield units on its own grid.

    Parameters
    ----------
    source
        A DICOM folder or a volume file.
    output
        Ends in .nii, .nii.gz, .nrrd, .mha, .mhd or .npy.
    series
        Series Instance UID, where the folder holds several.
    slice_spacing_mm
        For DICOM slices without positions: distance from one InstanceNumber to the next in mm, negative where they
        count from head to feet.
    """
    from hilum import io

    io.check_output(output)
    scan = _read(source, series=series, slice_spacing_mm=slice_spacing_mm)
    io.write(scan.ct, output, series_uid=scan.series_uid)
    say(f"{output}: {describe(scan)}")
    return ALL_WELL


@app.command
def lungs(source: Path, output: Path, /, *, method: Method = "hilum", dilate_mm: float = 0.0, series: str = "") -> int:
    """Write a lung mask on the scan's own grid: 1 right, 2 left.

    Parameters
    ----------
    source
        A DICOM folder or a volume file.
    output
        Ends in .nii, .nii.gz, .nrrd, .mha, .mhd or .npy.
    method
        The tutorial's methods do not tell sides: their lungs are all 1.
    dilate_mm
        Growth of the mask in mm.
    series
        Series Instance UID, where the folder holds several.
    """
    from hilum import io
    from hilum.ops.lungs import segment_lungs

    io.check_output(output)
    scan = _read(source, series=series)
    mask = segment_lungs(scan.ct, method=method, dilate_mm=dilate_mm)
    if not mask.array.any():
        raise InputError(
            "no lung was found", where=source, do="look at the scan, or try another --method", code="lungs"
        )
    io.write(mask, output, series_uid=scan.series_uid)
    say(f"{output}: {mask.volume_ml(1):.0f} ml labelled 1, {mask.volume_ml(2):.0f} ml labelled 2")
    return ALL_WELL


@app.command
def nodules(source: Path, annotations: Path, output: Path, /, *, series: str = "", series_uid: str = "") -> int:
    """Write a nodule mask on the scan's own grid.

    Parameters
    ----------
    source
        A DICOM folder or a volume file.
    annotations
        A LUNA16 annotations.csv.
    output
        Ends in .nii, .nii.gz, .nrrd, .mha, .mhd or .npy.
    series
        Series Instance UID, where the folder holds several.
    series_uid
        Series Instance UID, where the file does not know its own.
    """
    from hilum import io
    from hilum.ops.nodules import mask_nodules, nodules_outside

    io.check_output(output)
    scan = _read(source, series=series, annotations=annotations, series_uid=series_uid)
    for number in nodules_outside(scan.ct.geometry, scan.nodules):
        warn(f"nodule-outside: nodule {number + 1} at {scan.nodules[number].center} mm lies outside the scan")
    mask = mask_nodules(scan.ct.geometry, scan.nodules)
    io.write(mask, output, series_uid=scan.series_uid)
    say(f"{output}: {len(scan.nodules)} nodules, {mask.volume_ml():.2f} ml")
    return ALL_WELL


@app.command
def stats(folder: Path, /, *, json: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Print mean, standard deviation and percentiles of the voxels of a finished output.

    Parameters
    ----------
    folder
        An output folder of 'hilum run'.
    json
        Print JSON for programs in place of text.
    """
    from hilum.stats import stats_json, stats_text, voxel_stats

    found = voxel_stats(folder)
    say(stats_json(found) if json else stats_text(found))
    return ALL_WELL


@recipes.command(name="list")
def list_recipes() -> int:
    """List the recipes that ship."""
    from hilum.recipes import RECIPES

    say("\n".join(RECIPES))
    return ALL_WELL


@recipes.command
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


@recipes.command
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        In place of the process's own.

    Returns
    -------
    int
        0 all well; 1 something was refused or failed; 2 usage.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        status = app(words, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as problem:
        complain(f"{problem}; see 'hilum --help'")
        return USAGE
    except HilumError as refusal:
        if debug:
            raise
        complain(str(refusal))
        return REFUSED
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except Exception as problem:  # the last resort: a person gets one line, a developer --debug
        if debug:
            raise
        complain(f"failed, which it should not: {type(problem).__name__}: {problem}; give --debug to see where")
        return REFUSED
    return status if isinstance(status, int) else ALL_WELL


def _read(
    source: Path,
    *,
    series: str = "",
    annotations: Path | None = None,
    series_uid: str = "",
    slice_spacing_mm: float | None = None,
) -> Scan:
    scan = hilum.read(
        source, series=series, annotations=annotations, series_uid=series_uid, slice_spacing_mm=slice_spacing_mm
    )
    for note in scan.notes:
        warn(str(note))
    return scan


if __name__ == "__main__":
    sys.exit(main())
