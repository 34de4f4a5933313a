"""The regions of a DICOM structure set (RTSTRUCT) or segmentation (SEG): their names, and the scan that they belong to.

Source: DICOM PS3.3 A.19 (RT Structure Set IOD), C.8.8.5; A.51 (Segmentation IOD), C.8.20.2.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hilum.errors import FormatError, HilumError, MissingInputError, SeriesError, UnsupportedError, name_some, one_line
from hilum.scan import Note, Scan

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
    sop_uid : str
        Of the file; copies of it have the same.
    series_uids : tuple of str
        The series that it refers to.
    frame_uids : tuple of str
        Its frames of reference.
    image_uids : frozenset of str
        The images that it refers to in its header, by SOP Instance UID.
    regions : tuple of Region
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
    with reading(path):
        return regions_of(open_dataset(path, _HEADER), path)


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


def choose_region(listed: RegionList, name: str, path: Path, *, is_empty: Callable[[Region], bool]) -> Region:
    """The region of a name; of several with this name the one that is not empty.

    Parameters
    ----------
    listed : RegionList
    name : str
        As `RegionList.names` has it, or without a number.
    path : Path
    is_empty : callable
        Whether a region has nothing that could be filled.

    Raises
    ------
    SeriesError
        If there is none, or several are not empty.
    """
    numbered = dict(zip(listed.names, listed.regions, strict=True))
    if name in numbered:
        return numbered[name]
    named = {full: region for full, region in numbered.items() if region.name == name}
    if not named:
        there = name_some(f"'{full}'" for full in numbered)
        raise SeriesError(f"no region is called '{name}'; there are {there}", where=path, code="no-such-region")
    full = [region for region in named.values() if not is_empty(region)]
    if len(full) > 1:
        what = f"{len(full)} regions are called '{name}'"
        do = f"choose one by its number, such as '{next(iter(named))}'"
        raise SeriesError(what, where=path, do=do, code="ambiguous-region")
    return (full or list(named.values()))[0]


def check_series(
    listed: RegionList, region: Region, images: AbstractSet[str], scan: Scan, path: Path
) -> tuple[Note, ...]:
    """Check that a region belongs to a scan: by the images that it names, else by its series.

    De-identified structure sets exist whose contours name images that are nowhere else, not even in the list of images
    of the same file. This list decides then.

    Parameters
    ----------
    listed : RegionList
    region : Region
    images : set of str
        The images that the contours or frames of the region name, by SOP Instance UID; empty if they name none.
    scan : Scan
    path : Path

    Returns
    -------
    tuple of Note
        If the file says less than it should, or contradicts itself.

    Raises
    ------
    SeriesError
        If it belongs to another series.
    """
    own = {uid for uid in scan.slice_uids if uid}
    known = images & listed.image_uids or listed.image_uids
    do = "give the file that was drawn on this series"
    if own and images & own:
        return ()
    if own and known and not known & own:
        what = "refers to images that are not slices of this scan: it belongs to another series"
        raise SeriesError(what, where=path, do=do, code="other-regions")
    if not (own and known):
        if region.series_uids is not None and scan.series_uid not in region.series_uids:
            what = "refers to another series or frame of reference than this scan's"
            raise SeriesError(what, where=path, do=do, code="other-regions")
        if region.series_uids is None and not own:
            what = "names no series, and the scan has no DICOM slices: nothing says that they belong together"
            raise SeriesError(what, where=path, do="give the DICOM series that it was drawn on", code="other-regions")
    if own and images:
        text = "contours name images that are not in the file's own list; the file as a whole names this series"
        return (Note("region-images", text),)
    if region.series_uids is None and not known:
        text = "the file names neither its series nor its images: only the frame of reference fits"
        return (Note("region-by-frame", text),)
    return ()


def empty_error(regions: Sequence[tuple[str, str]], why: str, path: Path) -> SeriesError:
    """Make the error for chosen regions of which none has a pixel."""
    names = name_some(f"'{name}'" for name, _ in regions)
    what = f"no pixel is inside {names}: {why}"
    return SeriesError(what, where=path, do="choose another region, or correct the file", code="empty-region")
