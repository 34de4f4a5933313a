"""Commands on many scans and on finished output folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from hilum.cli.status import ALL_WELL, REFUSED
from hilum.console import balance, complain, landing, progress, say, warn


def run(
    inputs: Annotated[list[Path], Parameter(negative="")],
    /,
    *,
    out: Path,
    recipe: str = "default",
    file_format: Annotated[Literal["nifti", "npy"] | None, Parameter(name="--format")] = None,
    dataset: Literal["auto", "folder", "luna16", "lidc", "dsb2017"] = "auto",
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
        Kind of input; auto tells it by its shape.
    annotations
        A LUNA16 annotations.csv, a reading of LIDC-IDRI in .xml, or the data set's own table or readings, where they do
        not lie in the data set.
    workers
        Scans at a time, each in its own process; 0 for one per core.
    overwrite
        Replace finished scans of another recipe or input.
    """
    from hilum import batch
    from hilum.io.summary import read_summary
    from hilum.recipes import recipe as find_recipe
    from hilum.recipes import with_options

    chosen = with_options(find_recipe(recipe), file_format=file_format)
    found = batch.survey(inputs, dataset=dataset, annotations=annotations)
    refs, refused = found.refs, found.refused
    for row in refused:
        complain(row.reason)
    for name, notes in found.notes.items():
        if dataset == "auto" and name != "folder":
            warn(f"taken as {name}, by its shape (--dataset says otherwise)")
        for note in notes:
            warn(f"{name}: {note}")
    if not refs:
        return REFUSED
    with progress(len(refs) + len(refused)) as report:
        rows = batch.run(
            refs, chosen, out, workers=workers, overwrite=overwrite, refused=refused, found=found, report=report
        )
    say(balance(rows, out))
    if told := landing(read_summary(out)):
        say(told)
    return ALL_WELL if all(row.status in {"done", "repaired"} for row in rows) else REFUSED


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


def report(folder: Path, /, *, out: Path | None = None) -> int:
    """Write one offline HTML page of a finished output: its scans by risk, with pictures.

    Parameters
    ----------
    folder
        An output folder of 'hilum run'.
    out
        The file to write; report.html in the folder without it.
    """
    from hilum.report import write_report

    made = write_report(folder, out)
    say(f"{made.path}: {made.scans} scans, {made.pictures} with pictures, {made.size / 1e6:.1f} MB")
    return ALL_WELL
