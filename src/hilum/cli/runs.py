"""Commands on many scans and on finished output folders."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from hilum.cli.options import (
    Flag,
    Format,
    FormatOverride,
    Json,
    Labels,
    MaxGap,
    MemoryGigabytes,
    Out,
    OutOrNone,
    RunFolder,
    Table,
    TiltOverride,
    TimeoutMinutes,
    Values,
    Workers,
    table_columns,
)
from hilum.cli.status import ALL_WELL, REFUSED, describe_interrupt, exit_status
from hilum.console import nodule_lines, print_error, print_note, print_result

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from hilum.outputs.ledger import Row
    from hilum.progress import RunCounts
    from hilum.scan_ref import ScanRef


def run(
    inputs: Annotated[list[Path], Parameter(negative="")],
    /,
    *,
    out: Out,
    recipe: str = "default",
    file_format: FormatOverride = None,
    dataset: Literal[
        "auto", "folder", "luna16", "lidc", "dsb2017", "nnunet", "lndb", "luna25", "nlst", "nsclc", "dirlab"
    ] = "auto",
    annotations: Path | None = None,
    table: Table = None,
    labels: Labels = (),
    label_grid: Literal["world", "voxels"] = "world",
    roi: Annotated[list[str] | None, Parameter(negative="")] = None,
    roi_xor: Flag = False,
    max_gap_mm: MaxGap = None,
    tilt: TiltOverride = None,
    values: Values = None,
    workers: Workers = 0,
    scheduler: str = "",
    timeout: TimeoutMinutes = 30.0,
    memory: MemoryGigabytes = 0.0,
    retries: Literal[0, 1] = 1,
    json: Json = False,
    overwrite: Flag = False,
    prune: Flag = False,
    name_by: Literal["uid", "folder", "case"] = "uid",
    hide_paths: Flag = False,
    corrections: Path | None = None,
    strict: Flag = False,
) -> int:
    """Preprocess scans: turn files, folders or whole data sets into training-ready output.

    Parameters
    ----------
    inputs
        DICOM folders, volume files, or folders of them.
    out
        The output folder.
    recipe
        Name of a built-in recipe, or a TOML file; see 'hilum recipe list'.
    dataset
        Kind of input; auto detects it from the files.
    annotations
        A table of nodules (.csv), a list of boxes (.json), a LIDC-IDRI reading in .xml, or the data set's own table or
        readings if they are not in the data set.
    label_grid
        Place label maps by their geometry, or voxel on voxel if their files state none.
    roi
        Regions of DICOM structure sets and segmentations to take as label maps: PATTERN, PATTERN=NAME or
        FILE:PATTERN=NAME, such as 'Lung*' or GTV-1=tumor. Repeat it for more. 'hilum info' lists the regions.
    roi_xor
        Combine the contours of a slice by exclusive or, as some programs do: repeated contours then cancel.
    scheduler
        Address of a Dask scheduler whose workers process the scans, or 'local' to start one here; see docs/cluster.md.
    retries
        How often to retry a scan whose process died: 0 or 1.
    overwrite
        Replace the results of another recipe, and remove nodules and labels that this run does not have.
    prune
        At the end, remove ledger lines of scans that are no longer in the input, and folders of unfinished scans.
    name_by
        Name the scan folders by a hash of the series UID, by the folder or file of the scan, or by the case of a public
        data set. With folder, your names appear in every output.
    hide_paths
        Leave names that could identify a patient out of the paths in OUT/scans.csv, also for earlier runs.
    corrections
        The output folder of another run whose masks were corrected in 'hilum view': use these masks instead of new
        ones, for the scans of this input.
    strict
        Exit with status 1 if a stored scan has an alarm, that is, if its data are probably wrong.
    """
    from hilum import batch, recipes
    from hilum.datasets.labels import LabelRequest
    from hilum.io.optional_packages import check_packages
    from hilum.outputs import dataset_summary, folder
    from hilum.progress import RunCounts

    read = {} if values is None else asdict(values)
    read |= {"max_gap_mm": max_gap_mm, "tilt": None if tilt is None else "correct" if tilt else "refuse"}
    chosen = recipes.with_options(recipes.recipe(recipe), file_format=file_format, **read)
    check_packages(chosen.output.format)
    limits = batch.limits_of(minutes=timeout, gigabytes=memory, retries=retries)
    folder.check_output_folder(out, inputs)
    request = LabelRequest(sources=tuple(labels), grid=label_grid)
    found = batch.survey(
        inputs, dataset=dataset, annotations=annotations, columns=table_columns(table), labels=request, rois=roi or (),
        roi_xor=roi_xor,
    )  # fmt: skip
    for row in found.refused:
        print_error(row.full_reason or row.reason)
    for name, notes in found.screen_notes.items():
        if dataset == "auto" and name != "folder":
            print_note(f"detected the data set {name}; use --dataset if this is wrong")
        for note in notes:
            print_note(f"{name}: {note}")
    if not found.refs:
        counts = RunCounts(len(found.refused))
        for row in found.refused:
            counts.add(row)
        if json:
            print_result(counts.as_json(out))
        return REFUSED
    refs = found.refs if name_by == "uid" else batch.name_scans(found.refs, name_by)
    refs = refs if corrections is None else _with_corrections(refs, corrections, out)
    process = partial(batch.process, refs, chosen, out, workers=workers, limits=limits, scheduler=scheduler)
    process = partial(process, refused=found.refused, found=found, overwrite=overwrite, full_paths=not hide_paths)
    process = partial(process, pruned=_print_pruned if prune else None)
    counts, interrupted = _follow(process, out, total=len(refs) + len(found.refused))
    if interrupted:
        return interrupted
    if json:
        print_result(counts.as_json(out))
    else:
        print_result("\n".join([*nodule_lines(dataset_summary.read_summary(out)), *counts.summary(out)]))
    return REFUSED if not counts.all_finished or (strict and counts.to_check) else ALL_WELL


def _with_corrections(refs: list[ScanRef], run: Path, out: Path) -> list[ScanRef]:
    from hilum import batch

    refs, unused = batch.find_corrections(refs, run, out=out)
    for line in unused:
        print_note(f"a correction is not used: {line}")
    return refs


def _print_pruned(counts: tuple[int, int]) -> None:
    print_note(f"pruned: {counts[0]} ledger lines and {counts[1]} folders without a finished scan")


def store(
    folder: RunFolder,
    /,
    *,
    file_format: Format,
    out: OutOrNone = None,
    workers: Workers = 0,
    timeout: TimeoutMinutes = 30.0,
    memory: MemoryGigabytes = 0.0,
    scheduler: str = "",
) -> int:
    """Store the volumes of a finished output in another format, in a new folder. If interrupted, run it again.

    Parameters
    ----------
    out
        The new output folder; by default next to the old one, with the format in its name: OUT-b2nd.
    scheduler
        Address of a Dask scheduler whose workers convert the scans, or 'local' to start one here; see docs/cluster.md.
    """
    from hilum import batch
    from hilum.outputs.ledger import read_ledger

    target = folder.with_name(f"{folder.resolve().name}-{file_format}") if out is None else out
    limits = batch.limits_of(minutes=timeout, gigabytes=memory, retries=1)
    process = partial(batch.convert_run, folder, target, file_format=file_format)
    process = partial(process, workers=workers, limits=limits, scheduler=scheduler)
    counts, interrupted = _follow(process, target, total=len(read_ledger(folder)))
    if interrupted:
        return interrupted
    print_result("\n".join(counts.summary(target)))
    return ALL_WELL if counts.all_finished else REFUSED


def _follow(process: Callable[..., Generator[Row, None, None]], out: Path, *, total: int) -> tuple[RunCounts, int]:
    """Process scans and show the progress; return the counts and, after Ctrl-C or a signal, the exit status."""
    from hilum.progress import progress

    with progress(total) as shown, closing(process(watch=shown.watch)) as rows:
        try:
            for row in rows:
                shown.add(row)
        except KeyboardInterrupt as interrupt:
            done = f"{describe_interrupt(interrupt)} after {shown.counts.count} of {total} scans"
            print_error(f"{out}: {done}; run the same command again to continue")
            return shown.counts, exit_status(interrupt)
    return shown.counts, ALL_WELL


def demo(*, out: Out = Path("hilum-demo")) -> None:
    """Make a phantom scan, preprocess it and draw a picture; needs no input.

    Parameters
    ----------
    out
        The folder to fill.
    """
    from hilum.demo import demo as make

    print_result(make(out))


def stats(folder: RunFolder, /, *, json: Json = False) -> None:
    """Print statistics of a finished output: gray values of the volumes and inside the masks, grids, labels."""
    from hilum.stats import fingerprint, fingerprint_json, fingerprint_text, stats_text

    found = fingerprint(folder)
    print_result(fingerprint_json(found) if json else f"{stats_text(found.overall)}\n{fingerprint_text(found)}")


def report(
    folder: RunFolder, /, *, out: OutOrNone = None, detections: Path | None = None, scans: Path | None = None
) -> None:
    """Write one offline HTML page about a finished output: its scans sorted by risk, with pictures.

    Parameters
    ----------
    out
        The file to write; by default report.html in the folder.
    detections
        A detector's marks, to score on the run: a CSV file with the columns seriesuid, coordX, coordY, coordZ (LPS mm),
        probability, and diameter_mm if known.
    scans
        The series that the detector searched: a CSV file with the column seriesuid, or one UID per line; by default all
        scans that have annotations.
    """
    from hilum.report.page import write_report

    made = write_report(folder, out, detections=detections, scans=scans)
    print_result(f"{made.path}: {made.scans} scans, {made.pictures} with pictures, {made.size / 1e6:.1f} MB")


def verify(folder: RunFolder, /, *, json: Json = False) -> int:
    """Check a finished output against its checksums and its ledger; print one line per fault."""
    import msgspec

    from hilum.verify import Fault
    from hilum.verify import verify as check

    faults = 0
    for result in check(folder):
        faults += isinstance(result, Fault)
        if json:
            print_result(msgspec.json.encode(result).decode())
        elif isinstance(result, Fault):
            print_error(result.text)
        else:
            checked = f"{result.scans} scans, {result.files} files, {result.bytes / 1e6:.1f} MB"
            print_result(f"{folder}: {checked}: {faults or 'no'} faults")
    return REFUSED if faults else ALL_WELL
