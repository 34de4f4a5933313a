"""What every export starts from: a complete run whose files match their checksums."""

from pathlib import Path

from hilum.errors import FormatError, OutputError
from hilum.io.volumes.formats import STORES
from hilum.outputs import checksums
from hilum.runs.run import AnyRun, open_run
from hilum.train.runs import ListedScan, Skip, list_run
from hilum.verify import Fault, verify


def checked_run(folder: AnyRun) -> tuple[list[ListedScan], list[Skip]]:
    """Check the checksums of a run and list its finished scans.

    Parameters
    ----------
    folder : Path
        The output folder of ``hilum run``.

    Returns
    -------
    scans : list of ListedScan
        In the order of their ids.
    skipped : list of Skip
        Scans that the run refused or that failed.

    Raises
    ------
    MissingInputError
        If there is no run, or no finished scan in it.
    FormatError
        If the run did not end, or a file differs from what the run wrote.
    """
    for result in verify(run := open_run(folder)):
        if isinstance(result, Fault) and result.code != "extra":  # exports read only files of the scan
            what = f"{result.code}: the run is not complete, so nothing is exported"
            raise FormatError(what, where=result.where, do=checksums.RERUN, code=result.code)
    return list_run(run)


def annotated_run(folder: AnyRun) -> tuple[list[ListedScan], list[Skip]]:
    """List the annotated scans of a checked run.

    As `checked_run`; what is skipped includes the other scans, and nodules whose center is outside their scan.
    """
    scans, skipped = checked_run(folder)
    skipped += [scan.skip_without_nodules() for scan in scans if not scan.annotated]
    annotated = [scan for scan in scans if scan.annotated]
    return annotated, [*skipped, *(skip for scan in annotated for skip in scan.skip_nodules_outside("outside"))]


def image_name(scan: ListedScan, part: str = "ct") -> str:
    """Give the path of a scan's CT, or of another stored volume, relative to the run's folder."""
    return f"scans/{scan.folder.name}/{part}{STORES[scan.format_of(part)].suffix}"


def check_output_file(out: Path, *, overwrite: bool) -> None:
    """Refuse an output file that exists, unless it may be overwritten, or whose folder does not exist."""
    if out.is_dir() or not out.parent.is_dir():
        what = "is a folder" if out.is_dir() else "its folder does not exist"
        raise OutputError(what, where=out, do="name a file in a folder that exists", code="exists")
    if out.exists() and not overwrite:
        raise OutputError("exists already", where=out, do="give --overwrite", code="exists")
