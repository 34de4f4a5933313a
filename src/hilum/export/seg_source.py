"""The DICOM series of a finished scan: looked up by its UID, and compared with the grid that the run read."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hilum.errors import FormatError, GeometryError, MissingInputError, UnsupportedError
from hilum.geometry import Geometry
from hilum.io.dicom import choice, reader, records
from hilum.train.runs import ListedScan

_OPTIONAL = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate"),
    *("StudyTime", "ReferringPhysicianName"),
)
"""Attributes that a segmentation copies and that may be empty; de-identified files often lack them."""

_REQUIRED = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID", "SOPClassUID")


class SourceSeries(NamedTuple):
    """A DICOM series on disk.

    Parameters
    ----------
    geometry : Geometry
        The grid of the series.
    slots : tuple of int
        The index of each header along the grid's first axis, ascending.
    headers : list of pydicom.Dataset
        Without pixels.
    """

    geometry: Geometry
    slots: tuple[int, ...]
    headers: list[Any]


def index_sources(folders: Iterable[Path]) -> dict[str, tuple[Path, records.Stack]]:
    """List the series of folders by their UIDs: the stack that is read, and the folder that its names are relative to.

    Refuses a folder without a CT series.
    """
    series: dict[str, tuple[Path, records.Stack]] = {}
    for folder in folders:
        stacks = reader.index_dicom(folder)
        for uid in {stack.series_uid for stack in stacks}:
            stack, _ = choice.choose_stack([stack for stack in stacks if stack.series_uid == uid])
            if (largest := series.get(stack.series_uid)) is None or len(largest[1].slices) < len(stack.slices):
                series[stack.series_uid] = (folder if folder.is_dir() else folder.parent, stack)
    return series


def read_source(scan: ListedScan, sources: Mapping[str, tuple[Path, records.Stack]]) -> SourceSeries:
    """Read the headers of the series that a scan was made from.

    Parameters
    ----------
    scan : ListedScan
        The finished scan.
    sources : mapping of str to (Path, Stack)
        From `index_sources`.

    Returns
    -------
    SourceSeries

    Raises
    ------
    MissingInputError
        If the series is missing.
    GeometryError
        If its grid is not the one that the run read, as after a slice was lost or a header changed.
    UnsupportedError
        If its frames are in one file.
    FormatError
        If a header lacks an attribute that a segmentation refers to.
    """
    if scan.uid not in sources:
        raise MissingInputError("its series is not in the --source folders", where=scan.folder, do="name its folder")
    root, stack = sources[scan.uid]
    if stack.geometry is None or not stack.geometry.isclose(scan.record.source_geometry.to_geometry()):
        what = "the grid of its series has changed since the run"
        raise GeometryError(what, where=scan.folder, do="give the series as it was, or run it again")
    if stack.places:
        what = "its slices were shifted or interpolated onto a straight grid, and a segmentation refers to slices"
        raise UnsupportedError(
            what, where=scan.folder, do="export another format, such as nifti", code="shifted-slices"
        )
    if any(header.frames > 1 for header in stack.slices):
        what = "its series has all frames in one file, and segmentations of such series are not supported"
        raise UnsupportedError(what, where=scan.folder, do="give it as one file per slice")
    headers = [_read_header(root / header.path) for header in stack.slices]
    return SourceSeries(geometry=stack.geometry, slots=stack.planes, headers=headers)


def _read_header(path: Path) -> Any:
    import pydicom

    header = pydicom.dcmread(path, stop_before_pixels=True)
    for name in _REQUIRED:
        if not header.get(name):
            what = f"has no {name}, which a segmentation refers to"
            raise FormatError(what, where=path, do="a segmentation of it cannot be written")
    for name in _OPTIONAL:
        if name not in header:
            setattr(header, name, "")
    return header
