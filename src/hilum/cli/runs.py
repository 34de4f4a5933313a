"""Commands on many scans and on finished output folders."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from hilum.cli.ending import ending, status_of
from hilum.cli.status import ALL_WELL, REFUSED
from hilum.console import complain, landing, say, warn

if TYPE_CHECKING:
    from hilum.progress import Tally

if TYPE_CHECKING:
    from hilum.batch.removals import PruneCounts


def run(
    inputs: Annotated[list[Path], Parameter(negative="")],
    /,
    *,
    out: Path,
    recipe: str = "default",
    file_format: Annotated[Literal["nifti", "npy", "zarr", "b2nd"] | None, Parameter(name="--format")] = None,
    dataset: Literal["auto", "folder", "luna16", "lidc", "dsb2017"] = "auto",
    annotations: Path | None = None,
    workers: int = 0,
    scheduler: str = "",
    timeout: float = 30.0,
    memory: float = 0.0,
    retries: Literal[0, 1] = 1,
    json: Annotated[bool, Parameter(negative="")] = False,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    prune: Annotated[bool, Parameter(negative="")] = False,
    name_by: Literal["uid", "folder", "case"] = "uid",
    hide_paths: Annotated[bool, Parameter(negative="")] = False,
    strict: Annotated[bool, Parameter(negative="")] = False,
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
        Scans at a time, each in a process of its own; 0 for one per core where there is memory for as many.
    scheduler
        Address of a Dask scheduler whose workers make the scans, or 'local' to start one here; see docs/cluster.md.
    timeout
        Minutes that one scan may take; 0 for no limit.
    memory
        GB of memory that one scan may take; 0 for an equal share of what is free.
    retries
        How often a scan is tried again whose process died: 0 or 1.
    json
        Print a summary in JSON for programs in place of text.
    overwrite
        Replace the results of another recipe, and remove nodules and labels that this run does not have.
    prune
        At the end, remove from the output what belongs to no finished scan and to no input given: lines of scans that
        are gone, and folders of scans that are not finished.
    name_by
        What the scans' folders are called after: a hash of the series UID, the folder or file that holds the scan, or
        the case of a public data set. A name of yours stands in every output.
    hide_paths
        Leave names that could be a patient's out of the scans' paths in OUT/scans.csv, also of earlier runs.
    strict
        End with status 1 also where a scan is to be checked: it was stored, and something is probably wrong.
    """
    from hilum import batch
    from hilum.io.optional_packages import check_packages
    from hilum.outputs.dataset_summary import read_summary
    from hilum.outputs.folder import check_output_folder
    from hilum.progress import Tally, progress
    from hilum.recipes import recipe as find_recipe
    from hilum.recipes import with_options

    chosen = with_options(find_recipe(recipe), file_format=file_format)
    check_packages(chosen.output.format)
    limits = batch.limits_of(minutes=timeout, gigabytes=memory, retries=retries)
    check_output_folder(out, inputs)
    found = batch.survey(inputs, dataset=dataset, annotations=annotations)
    for row in found.refused:
        complain(row.full_reason or row.reason)
    for name, notes in found.told.items():
        if dataset == "auto" and name != "folder":
            warn(f"taken as {name}, by its shape (--dataset says otherwise)")
        for note in notes:
            warn(f"{name}: {note}")
    if not found.refs:  # no run: a person has read why, and a program gets its line all the same
        tally = Tally(len(found.refused))
        for row in found.refused:
            tally.add(row)
        if json:
            say(tally.as_json(out))
        return REFUSED
    refs = found.refs if name_by == "uid" else batch.name_scans(found.refs, name_by)
    with ExitStack() as stack:
        shown = stack.enter_context(progress(len(found.refs) + len(found.refused)))
        rows = batch.process(
            refs,
            chosen,
            out,
            workers=workers,
            limits=limits,
            scheduler=scheduler,
            overwrite=overwrite,
            refused=found.refused,
            found=found,
            pruned=_tell_pruned if prune else None,
            full_paths=not hide_paths,
            watch=shown.watch,
        )
        stack.enter_context(closing(rows))
        try:
            for row in rows:
                shown.add(row)
        except KeyboardInterrupt as asked:
            complain(
                f"{out}: {ending(asked)} after {shown.tally.count} of {shown.tally.total} scans; run it again to go on"
            )
            return status_of(asked)
    _say_end(shown.tally, out, json=json, nodules="" if json else landing(read_summary(out)))
    return REFUSED if not shown.tally.well or (strict and shown.tally.to_check) else ALL_WELL


def _tell_pruned(gone: PruneCounts) -> None:
    warn(f"pruned: {gone.rows} lines of the ledger and {gone.folders} folders that belonged to no finished scan")


def store(
    folder: Path,
    /,
    *,
    file_format: Annotated[Literal["nifti", "npy", "zarr", "b2nd"], Parameter(name="--format")],
    out: Path | None = None,
    workers: int = 0,
    timeout: float = 30.0,
    memory: float = 0.0,
) -> int:
    """Store the volumes of a finished output in another format, in a folder of its own; the first one stays.

    Parameters
    ----------
    folder
        An output folder of 'hilum run'.
    file_format
        Format of volumes and masks.
    out
        The new output folder; without it the old one's name and the format, beside it: OUT-b2nd. Interrupted, the same
        command goes on.
    workers
        Scans at a time, each in a process of its own; 0 for one per core where there is memory for as many.
    timeout
        Minutes that one scan may take; 0 for no limit.
    memory
        GB of memory that one scan may take; 0 for an equal share of what is free.
    """
    from hilum import batch
    from hilum.outputs.ledger import read_ledger
    from hilum.progress import progress

    target = folder.with_name(f"{folder.resolve().name}-{file_format}") if out is None else out
    total = len(read_ledger(folder))
    limits = batch.limits_of(minutes=timeout, gigabytes=memory, retries=1)
    with ExitStack() as stack:
        shown = stack.enter_context(progress(total))
        rows = batch.convert_run(
            folder, target, file_format=file_format, workers=workers, limits=limits, watch=shown.watch
        )
        stack.enter_context(closing(rows))
        try:
            for row in rows:
                shown.add(row)
        except KeyboardInterrupt as asked:
            complain(
                f"{target}: {ending(asked)} after {shown.tally.count} of {total} scans; give the command again to go on"
            )
            return status_of(asked)
    _say_end(shown.tally, target)
    return ALL_WELL if shown.tally.well else REFUSED


def _say_end(tally: Tally, out: Path, *, json: bool = False, nodules: str = "") -> None:
    """Print how a run ended; what is to be done comes last."""
    if json:
        say(tally.as_json(out))
        return
    for line in filter(None, (nodules, *tally.ending(out))):
        say(line)


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
    """Print a finished output's fingerprint: gray values of the whole and inside the masks, grids, classes.

    Parameters
    ----------
    folder
        An output folder of 'hilum run'.
    json
        Print JSON for programs in place of text.
    """
    from hilum.fingerprint import fingerprint, fingerprint_json, fingerprint_text
    from hilum.stats import stats_text

    found = fingerprint(folder)
    say(fingerprint_json(found) if json else f"{stats_text(found.overall)}\n{fingerprint_text(found)}")
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


def verify(folder: Path, /, *, json: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Hold a finished output against its checksums and its ledger: one line for every fault.

    Parameters
    ----------
    folder
        An output folder of 'hilum run'.
    json
        Print JSON for programs in place of text, a line for each fault and one for the verdict.
    """
    import msgspec

    from hilum.verify import Fault
    from hilum.verify import verify as check

    faults = 0
    for found in check(folder):
        is_fault = isinstance(found, Fault)
        faults += is_fault
        if json:
            say(msgspec.json.encode(found).decode())
        elif isinstance(found, Fault):
            complain(found.text)
        else:
            told = f"{found.scans} scans, {found.files} files, {found.bytes / 1e6:.1f} MB"
            say(f"{folder}: {told}: " + (f"{faults} faults" if faults else "all as they were written"))
    return REFUSED if faults else ALL_WELL
