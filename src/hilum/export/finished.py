"""What every export starts from: a run that ended, every file as it was written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hilum.errors import FormatError, OutputError
from hilum.io.volumes.formats import FORMATS
from hilum.outputs.checksums import RERUN
from hilum.outputs.store import HU
from hilum.outputs.volumes import format_of
from hilum.train.runs import list_run, no_nodules
from hilum.verify import Fault, verify

if TYPE_CHECKING:
    from pathlib import Path

    from hilum.train.runs import RunScan, Skip

_HARMLESS = frozenset({"extra"})
"""Faults that are none here: a file beside a scan's own is not exported."""


def checked_run(folder: Path) -> tuple[list[RunScan], list[Skip]]:
    """List the finished scans of a run after every file was held against its checksum.

    Parameters
    ----------
    folder : Path
        The output folder of ``hilum run``.

    Returns
    -------
    scans : list of RunScan
        In the order of their ids.
    skipped : list of Skip
        Scans that the run refused, or that failed in it.

    Raises
    ------
    MissingInputError
        If there is no run, or no finished scan in it.
    FormatError
        If the run did not end, or something in it is not as it was written.
    """
    for found in verify(folder):
        if isinstance(found, Fault) and found.code not in _HARMLESS:
            what = f"{found.code}: the run is not whole, and nothing of it is exported"
            raise FormatError(what, where=found.where, do=RERUN, code=found.code)
    return list_run(folder)


def annotated_run(folder: Path) -> tuple[list[RunScan], list[Skip]]:
    """List those scans of a checked run in which nodules were looked for.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    scans : list of RunScan
    skipped : list of Skip
        The others too.

    Raises
    ------
    InputError
        As `checked_run`.
    """
    scans, skipped = checked_run(folder)
    left_out = [no_nodules(scan) for scan in scans if not scan.annotated]
    return [scan for scan in scans if scan.annotated], [*skipped, *left_out]


def image_name(scan: RunScan) -> str:
    """The name of a scan's CT, relative to the run's folder.

    Parameters
    ----------
    scan : RunScan

    Returns
    -------
    str
    """
    return f"scans/{scan.folder.name}/ct{FORMATS[format_of(scan.record)]}"


def json_bytes(value: object) -> bytes:
    """A value as the JSON of a file that people read too.

    Parameters
    ----------
    value : object

    Returns
    -------
    bytes
    """
    return msgspec.json.format(msgspec.json.encode(value)) + b"\n"


def refuse_unit_range(scans: list[RunScan], *, program: str) -> None:
    """Refuse an output whose voxels are no Hounsfield units, for a program that takes them for such.

    Parameters
    ----------
    scans : list of RunScan
    program : str
        Its name, for the message.

    Raises
    ------
    FormatError
        If a scan's voxels are in the unit range.
    """
    for scan in scans:
        if scan.record.unit != HU:
            what = f"voxels are in the {scan.record.unit}, and {program} is told that they are HU"
            do = "run with intensity.output = 'hu'"
            raise FormatError(what, where=scan.folder, do=do, code="not-hounsfield")


def fold_of(scan: RunScan) -> str:
    """The fold of a scan's patient.

    Parameters
    ----------
    scan : RunScan

    Returns
    -------
    str
        Its label ``patient_fold``, or ``fold`` where a data set does not tell patients apart; empty without both.
    """
    labels = scan.record.labels
    return str(labels.get("patient_fold", labels.get("fold", "")))


def check_free(out: Path, *, overwrite: bool) -> None:
    """Refuse an output file that is there already.

    Parameters
    ----------
    out : Path
    overwrite : bool

    Raises
    ------
    OutputError
        If the name is taken, or is that of a folder, or its folder is missing.
    """
    if out.is_dir() or not out.parent.is_dir():
        what = "is a folder" if out.is_dir() else "its folder is not there"
        raise OutputError(what, where=out, do="give a file's name in a folder that is there", code="exists")
    if out.exists() and not overwrite:
        raise OutputError("is there already", where=out, do="give --overwrite", code="exists")
