"""The DICOM series that a finished scan was made of: found by its UID, held against the grid that was read then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hilum.errors import FormatError, GeometryError, MissingInputError, UnsupportedError
from hilum.geometry import Geometry
from hilum.io.dicom.reader import index_dicom

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from hilum.io.dicom.records import Stack
    from hilum.train.runs import RunScan

_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate"),
    *("StudyTime", "ReferringPhysicianName"),
)
"""What a segmentation has of its source, and may be empty; de-identified files often leave it out altogether."""

_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID", "SOPClassUID")


@dataclass(frozen=True, eq=False)
class Source:
    """A series on the disk.

    Parameters
    ----------
    geometry : Geometry
        Its whole grid.
    slots : tuple of int
        The place of each header in that grid, ascending.
    headers : list of pydicom.Dataset
        Without pixels.
    """

    geometry: Geometry
    slots: tuple[int, ...]
    headers: list[Any]


def index_sources(folders: Iterable[Path]) -> dict[str, tuple[Path, Stack]]:
    """List the series of folders by their UIDs; of several stacks of one series the largest.

    Parameters
    ----------
    folders : iterable of Path
        Each is searched with its subfolders.

    Returns
    -------
    dict of str to (Path, Stack)
        With the folder that the names of its files begin in.

    Raises
    ------
    InputError
        If there is no CT series in one.
    """
    found: dict[str, tuple[Path, Stack]] = {}
    for folder in folders:
        for stack in index_dicom(folder):
            known = found.get(stack.series_uid)
            if known is None or len(known[1].slices) < len(stack.slices):
                found[stack.series_uid] = (folder if folder.is_dir() else folder.parent, stack)
    return found


def find_source(scan: RunScan, sources: Mapping[str, tuple[Path, Stack]]) -> Source:
    """Read the headers of the series that a scan was made of.

    Parameters
    ----------
    scan : RunScan
    sources : mapping of str to (Path, Stack)
        From `index_sources`.

    Returns
    -------
    Source

    Raises
    ------
    MissingInputError
        If the series is not there.
    GeometryError
        If it lies elsewhere than what was read, as after a slice was lost or a header changed.
    UnsupportedError
        If its frames lie in one file.
    FormatError
        If a header lacks what a segmentation must refer to.
    """
    if scan.uid not in sources:
        raise MissingInputError("its series is not in the --source folders", where=scan.folder, do="name its folder")
    root, stack = sources[scan.uid]
    grid = scan.record.source_geometry
    first, second, third = grid.direction
    read_then = Geometry(grid.shape, grid.spacing, grid.origin, (first, second, third))
    if stack.geometry is None or not stack.geometry.isclose(read_then):
        what = "the series does not lie where it lay when it was read"
        raise GeometryError(what, where=scan.folder, do="give the series as it was, or run it again")
    if any(header.frames > 1 for header in stack.slices):
        what = "the series keeps its frames in one file, to which no segmentation is written yet"
        raise UnsupportedError(what, where=scan.folder, do="give it as single slices")
    headers = [_header(root / header.path) for header in stack.slices]
    return Source(geometry=stack.geometry, slots=stack.planes, headers=headers)


def _header(path: Path) -> Any:
    import pydicom

    header = pydicom.dcmread(path, stop_before_pixels=True)
    for name in _NEEDED:
        if not header.get(name):
            what = f"has no {name}, which a segmentation refers to"
            raise FormatError(what, where=path, do="a segmentation of it cannot be written")
    for name in _EMPTY:
        if name not in header:
            setattr(header, name, "")
    return header
