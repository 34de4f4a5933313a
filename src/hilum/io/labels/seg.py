"""Segments of a DICOM segmentation (SEG): binary, fractional or a label map, on the planes of its frames.

A segmentation need not have all slices of its scan, in any order: a frame lies where its Plane Position says. What no
frame covers is outside.

Source: DICOM PS3.3 C.8.20.2, C.7.6.16.2 (functional groups); PS3.5 8.1.1 (bits are packed without gaps between frames).
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hilum.errors import FormatError, GeometryError, UnsupportedError
from hilum.io.labels.choice import check_series, choose_region, empty_error
from hilum.io.labels.regions import items_of, number_of, open_dataset, reading, regions_of, text_of
from hilum.io.labels.seg_planes import Plane, SegGrid, fit_planes
from hilum.scan import LabelMap, Note, Scan
from hilum.volume import Mask

_NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")  # uncompressed, little endian

_BIG_ENDIAN = "1.2.840.10008.1.2.2"

_BINARY, _FRACTIONAL, _LABELMAP = "BINARY", "FRACTIONAL", "LABELMAP"

_MOST_PIXELS = 2**33


class _Frame(NamedTuple):
    """Where a frame lies, and its segment; 0 for a frame of a label map, which shows all of them."""

    plane: Plane
    segment: int


_Pixels = Callable[[int], NDArray[Any]]  # the pixels of a frame, by its number


def read_seg(
    path: Path, scan: Scan, regions: Sequence[tuple[str, str]]
) -> tuple[dict[str, LabelMap], tuple[Note, ...]]:
    """Read segments of a segmentation of a scan.

    Parameters
    ----------
    path : Path
        The DICOM file.
    scan : Scan
        The scan that the segmentation belongs to.
    regions : sequence of (str, str)
        The label of each segment in the file, and the name of its label map.

    Returns
    -------
    maps : dict of str to LabelMap
        One for each segment that is not empty, with the value 1, on the grid of the segmentation.
    notes : tuple of Note

    Raises
    ------
    MissingInputError, FormatError, UnsupportedError
        If the file cannot be opened, is damaged, or no segmentation.
    GeometryError
        If its frames do not lie on a regular grid.
    SeriesError
        If it belongs to another series, a segment is not in it or named twice, or all chosen segments are empty.
    """
    with reading(path):
        dataset = open_dataset(path)
        listed = regions_of(dataset, path)
        if listed.kind != "seg":
            raise FormatError("is no segmentation", where=path, do="give a DICOM SEG file")
        kind, shape = text_of(dataset, "SegmentationType").upper(), _shape(dataset)
        if kind not in {_BINARY, _FRACTIONAL, _LABELMAP}:
            raise UnsupportedError("its segmentation type is unknown", where=path, do="export it as BINARY")
        frames, images = _read_frames(dataset, kind, path)
        filled = {frame.segment for frame in frames}
        chosen = [
            (choose_region(listed, name, path, is_empty=lambda one: kind != _LABELMAP and one.number not in filled), to)
            for name, to in regions
        ]
        notes = [note for region, _ in chosen for note in check_series(listed, region, images, scan, path)]
        pixels, threshold = _open_pixels(dataset, path, len(frames)), _threshold(dataset, kind)
    grid = fit_planes([frame.plane for frame in frames], shape, scan.ct.geometry, path)
    maps: dict[str, LabelMap] = {}
    for region, name in chosen:
        own = [k for k, frame in enumerate(frames) if frame.segment in {0, region.number}]
        with reading(path):
            mask = _fill(own, pixels, threshold(region.number), grid, path)
        if mask.any():
            maps[name] = LabelMap(Mask(mask, grid.geometry), {name: 1})
        else:
            notes.append(Note("empty-region", f"{name}: the segment has no pixel"))
    if not maps:
        raise empty_error(regions, "the file has no pixel of it", path)
    return maps, tuple(dict.fromkeys([*notes, *_notes(kind, grid)]))


def _notes(kind: str, grid: SegGrid) -> Iterator[Note]:
    if kind == _FRACTIONAL:
        yield Note("fractional-seg", "the segmentation is fractional: pixels from 0.5 on are inside")
    if grid.moved:
        what = f"moved by up to {grid.moved:.2g} pixels onto the grid of the scan"
        yield Note("shifted-seg", f"frames of the segmentation lie beside each other: {what}")


def _shape(dataset: Any) -> tuple[int, int]:
    return number_of(dataset, "Rows"), number_of(dataset, "Columns")


def _read_frames(dataset: Any, kind: str, path: Path) -> tuple[list[_Frame], frozenset[str]]:
    """The frames, and the images from which they were made."""
    shared = (items_of(dataset, "SharedFunctionalGroupsSequence") or [{}])[0]
    frames, images = [], set()
    for item in items_of(dataset, "PerFrameFunctionalGroupsSequence"):
        groups = [item, shared]
        orientation = _group(groups, "PlaneOrientationSequence", "ImageOrientationPatient")
        measures = _group(groups, "PixelMeasuresSequence", "PixelSpacing")
        plane = Plane(
            position=_numbers(_group(groups, "PlanePositionSequence", "ImagePositionPatient"), 3, path),
            orientation=_numbers(orientation, 6, path),
            spacing=_numbers(measures, 2, path),
            step=_number(groups, "SpacingBetweenSlices"),
            thickness=_number(groups, "SliceThickness"),
        )
        segment = _group(groups, "SegmentIdentificationSequence", "ReferencedSegmentNumber")
        frames.append(_Frame(plane, 0 if kind == _LABELMAP else int(segment)))
        for derived in items_of(item, "DerivationImageSequence"):
            images |= {
                text_of(source, "ReferencedSOPInstanceUID") for source in items_of(derived, "SourceImageSequence")
            }
    if not frames:
        raise FormatError("has no frames", where=path, do="export it again", code="no-pixels")
    return frames, frozenset(filter(None, images))


def _group(groups: Sequence[Any], sequence: str, keyword: str) -> Any:
    """A value of a functional group: that of the frame, else that of all frames."""
    for group in groups:
        for item in items_of(group, sequence):
            if keyword in item:
                return item.get(keyword)
    return None


def _number(groups: Sequence[Any], keyword: str) -> float:
    """A number of the pixel measures; 0 if it is absent."""
    return abs(float(_group(groups, "PixelMeasuresSequence", keyword) or 0))


def _numbers(value: Any, count: int, path: Path) -> tuple[float, ...]:
    numbers = tuple(map(float, value if value is not None else ()))
    if len(numbers) != count or not np.isfinite(numbers).all():
        what = "a frame has no position, orientation or pixel spacing"
        raise GeometryError(what, where=path, do="export it again", code="bad-geometry")
    return numbers


def _open_pixels(dataset: Any, path: Path, frames: int) -> _Pixels:
    """Open the pixels of a segmentation."""
    rows, columns = _shape(dataset)
    bits, syntax = number_of(dataset, "BitsAllocated"), str(dataset.file_meta.get("TransferSyntaxUID", ""))
    if bits not in {1, 8, 16} or syntax == _BIG_ENDIAN or int(dataset.get("SamplesPerPixel", 1)) != 1:
        what = f"its pixels have {bits} bits" if bits not in {1, 8, 16} else "its pixels are big endian or in color"
        raise UnsupportedError(what, where=path, do="export it as BINARY, little endian")
    if not 0 < rows * columns * frames <= _MOST_PIXELS:
        raise FormatError("its matrix is impossible", where=path, do="export it again", code="bad-matrix")
    if syntax not in _NATIVE:
        from pydicom.pixels.utils import iter_pixels

        return lambda number: next(iter(iter_pixels(path, indices=[number], raw=True))).reshape(rows, columns)
    from pydicom import dcmread

    data = dcmread(path, force=True, specific_tags=["PixelData"]).get("PixelData") or b""
    size = rows * columns
    if len(data) * 8 < size * bits * frames:
        raise FormatError("its pixels are cut off", where=path, do="get the file again, complete", code="truncated")
    if bits > 1:
        whole = np.frombuffer(data, np.uint8 if bits == 8 else "<u2")
        return lambda number: whole[number * size : (number + 1) * size].reshape(rows, columns)

    def unpack(number: int) -> NDArray[np.uint8]:
        start = number * size
        packed = np.frombuffer(data, np.uint8, count=(start % 8 + size + 7) // 8, offset=start // 8)
        return np.unpackbits(packed, bitorder="little")[start % 8 :][:size].reshape(rows, columns)

    return unpack


def _threshold(dataset: Any, kind: str) -> Callable[[int], Callable[[NDArray[Any]], NDArray[np.bool_]]]:
    """What tells the pixels of a segment from the others in a frame."""
    if kind == _LABELMAP:
        return lambda number: lambda pixels: pixels == number
    whole = int(dataset.get("MaximumFractionalValue") or 255) if kind == _FRACTIONAL else 1
    return lambda _: lambda pixels: 2 * pixels.astype(np.int32) >= whole


def _fill(
    numbers: Sequence[int],
    pixels: _Pixels,
    inside: Callable[[NDArray[Any]], NDArray[np.bool_]],
    grid: SegGrid,
    path: Path,
) -> NDArray[np.uint8]:
    """The mask of a segment, from its frames."""
    mask = np.zeros(grid.geometry.shape, np.uint8)
    height, width = mask.shape[1:]
    done: dict[int, NDArray[np.bool_]] = {}
    for number in numbers:
        plane, row, column = grid.starts[number]
        marked = inside(pixels(number))
        if plane in done and not np.array_equal(done[plane], marked):
            what = "two frames of one segment lie in one plane and differ"
            raise FormatError(
                what, where=path, do="give a segmentation of one point in time", code="conflicting-frames"
            )
        done[plane] = marked
        part = marked[max(0, -row) : height - row, max(0, -column) : width - column]
        mask[plane, max(0, row) :, max(0, column) :][: part.shape[0], : part.shape[1]] = part
    return mask
