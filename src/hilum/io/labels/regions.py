"""The regions of a DICOM structure set (RTSTRUCT) or segmentation (SEG): their names, and the scan that they belong to.

Source: DICOM PS3.3 A.19 (RT Structure Set IOD), C.8.8.5; A.51 (Segmentation IOD), C.8.20.2.
"""

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hilum.errors import FormatError, HilumError, MissingInputError, UnsupportedError, one_line
from hilum.io.archives import opened_member

RTSTRUCT, SEG, LABELMAP_SEG = (
    "1.2.840.10008.5.1.4.1.1.481.3", "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7",
)  # fmt: skip
"""The SOP classes that are read."""

_KINDS: dict[str, Literal["rtstruct", "seg"]] = {RTSTRUCT: "rtstruct", SEG: "seg", LABELMAP_SEG: "seg"}

_DEFLATED = "1.2.840.10008.1.2.1.99"  # pydicom inflates it without a limit

_SIDES = "SegmentedPropertyTypeModifierCodeSequence"

_HEADER = (
    "SOPClassUID", "SOPInstanceUID", "SpecificCharacterSet", "FrameOfReferenceUID", "ReferencedSeriesSequence",
    "SegmentSequence", "StructureSetROISequence", "ReferencedFrameOfReferenceSequence", "RTROIObservationsSequence",
)  # fmt: skip
"""All that `list_regions` needs: neither contours nor frames."""


@dataclass(frozen=True, slots=True)
class Region:
    """A region of interest of a structure set, or a segment of a segmentation.

    Parameters
    ----------
    number : int
        The number that the file gives it.
    name : str
        As in the file, without control characters.
    type : str
        ``ORGAN``, ``GTV``, ...; the property type of a segment. May be empty.
    series_uids : tuple of str or None
        The series on which it was drawn, by its frame of reference; None if the file does not say.
    """

    number: int
    name: str
    type: str = ""
    series_uids: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class RegionList:
    """What a structure set or segmentation says of itself.

    Parameters
    ----------
    kind : {"rtstruct", "seg"}
        A structure set or a segmentation.
    sop_uid : str
        Of the file; copies of it have the same.
    series_uids : tuple of str
        The series that it refers to.
    frame_uids : tuple of str
        Its frames of reference.
    image_uids : frozenset of str
        The images that it refers to in its header, by SOP Instance UID.
    regions : tuple of Region
        In the order of the file.
    """

    kind: Literal["rtstruct", "seg"]
    sop_uid: str
    series_uids: tuple[str, ...]
    frame_uids: tuple[str, ...]
    image_uids: frozenset[str]
    regions: tuple[Region, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each region; where several are equal, with its number: ``GTV#2``."""
        counts = Counter(region.name for region in self.regions)
        return tuple(r.name if counts[r.name] == 1 else f"{r.name}#{r.number}" for r in self.regions)


def list_regions(path: Path) -> RegionList:
    """List the regions of a file without reading contours or pixels.

    Parameters
    ----------
    path : Path
        Also of a member of an archive, as a path below it.

    Returns
    -------
    RegionList

    Raises
    ------
    MissingInputError
        If the file cannot be opened.
    FormatError
        If it is damaged.
    UnsupportedError
        If it is no structure set or segmentation, or deflated.
    """
    with opened_member(path) as file, reading(file):
        return regions_of(open_dataset(file, _HEADER), file)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what pydicom raises and warns about a damaged file into a FormatError.

    Raises
    ------
    FormatError, MissingInputError
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about values that do not matter; those that do are checked
            yield
    except HilumError:
        raise
    except (FileNotFoundError, IsADirectoryError, PermissionError) as problem:
        raise MissingInputError("the file cannot be opened", where=path, do="check the path") from problem
    except Exception as problem:  # pydicom raises errors of any kind for damaged elements, some only when they are used
        what = f"is damaged: {type(problem).__name__}"
        raise FormatError(what, where=path, do="export it again", code="damaged") from problem


def open_dataset(path: Path, keywords: Sequence[str] | None = None) -> Any:
    """Read a structure set or segmentation with pydicom, without pixels.

    Parameters
    ----------
    path : Path
        The DICOM file.
    keywords : sequence of str, optional
        The only elements to read.

    Returns
    -------
    pydicom.Dataset
    """
    from pydicom import dcmread

    dataset = dcmread(
        path, stop_before_pixels=True, force=True, specific_tags=None if keywords is None else [*keywords]
    )
    if str(dataset.file_meta.get("TransferSyntaxUID", "")) == _DEFLATED:
        raise UnsupportedError("is deflated", where=path, do="export it again without compression")
    if str(dataset.get("SOPClassUID", "")) not in _KINDS:
        what = "is neither a structure set (RTSTRUCT) nor a segmentation (SEG)"
        raise UnsupportedError(what, where=path, do="give one of them", code="not-regions")
    return dataset


def regions_of(dataset: Any, path: Path) -> RegionList:
    """What the header of an open file says of its regions."""
    kind = _KINDS[str(dataset.SOPClassUID)]
    if kind == "rtstruct":
        by_frame = {
            text_of(frame, "FrameOfReferenceUID"): [
                one for study in items_of(frame, "RTReferencedStudySequence")
                for one in items_of(study, "RTReferencedSeriesSequence")
            ]
            for frame in items_of(dataset, "ReferencedFrameOfReferenceSequence")
        }  # fmt: skip
        series = [one for several in by_frame.values() for one in several]
        regions = _rois(dataset, {frame: _uids(several, "SeriesInstanceUID") for frame, several in by_frame.items()})
        frame_uids = tuple(filter(None, by_frame))
        images = [image for one in series for image in items_of(one, "ContourImageSequence")]
    else:
        series = items_of(dataset, "ReferencedSeriesSequence")
        regions = _segments(dataset, _uids(series, "SeriesInstanceUID"))
        frame_uids = tuple(filter(None, [text_of(dataset, "FrameOfReferenceUID")]))
        images = [image for one in series for image in items_of(one, "ReferencedInstanceSequence")]
    if not regions:
        raise FormatError("lists no region", where=path, do="export it again", code="no-such-region")
    image_uids = frozenset(_uids(images, "ReferencedSOPInstanceUID"))
    return RegionList(
        kind, text_of(dataset, "SOPInstanceUID"), _uids(series, "SeriesInstanceUID"), frame_uids, image_uids, regions
    )


def _rois(dataset: Any, series_of: Mapping[str, tuple[str, ...]]) -> tuple[Region, ...]:
    """The regions of a structure set; `series_of` tells the series of each frame of reference."""
    types = {
        number_of(item, "ReferencedROINumber"): text_of(item, "RTROIInterpretedType")
        for item in items_of(dataset, "RTROIObservationsSequence")
    }
    every = tuple(uid for several in series_of.values() for uid in several)
    regions = []
    for item in items_of(dataset, "StructureSetROISequence"):
        number, frame = number_of(item, "ROINumber"), text_of(item, "ReferencedFrameOfReferenceUID")
        series = series_of.get(frame, ()) if frame and any(series_of) else every
        regions.append(Region(number, text_of(item, "ROIName"), types.get(number, ""), series if every else None))
    return tuple(regions)


def _segments(dataset: Any, series: tuple[str, ...]) -> tuple[Region, ...]:
    """The segments of a segmentation; of equal labels, such as two of ``Lung``, each gets its side: ``Lung Left``."""
    items = items_of(dataset, "SegmentSequence")
    labels = [text_of(item, "SegmentLabel") for item in items]
    counts, regions = Counter(labels), []
    for item, label in zip(items, labels, strict=True):
        properties = items_of(item, "SegmentedPropertyTypeCodeSequence")[:1]
        kind = " ".join(text_of(one, "CodeMeaning") for one in properties)
        sides = [text_of(side, "CodeMeaning") for one in properties for side in items_of(one, _SIDES)]
        name = " ".join([label, *sides]) if counts[label] > 1 else label
        regions.append(Region(number_of(item, "SegmentNumber"), name, kind, series or None))
    return tuple(regions)


def _uids(items: Iterable[Any], keyword: str) -> tuple[str, ...]:
    """The UIDs of some items, each once."""
    return tuple(dict.fromkeys(filter(None, (text_of(item, keyword) for item in items))))


def items_of(dataset: Any, keyword: str) -> list[Any]:
    """The items of a sequence; empty if it is absent."""
    value = dataset.get(keyword)
    return [] if value is None else list(iter(value))


def text_of(dataset: Any, keyword: str) -> str:
    """A value as one line of text; empty if it is absent."""
    value = dataset.get(keyword)
    return "" if value is None else one_line(value, limit=64)


def number_of(dataset: Any, keyword: str) -> int:
    """A value as a whole number; raises ValueError or TypeError if it is absent or none."""
    return int(dataset.get(keyword))
