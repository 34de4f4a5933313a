"""Any DICOM, through pydicom: headers that `hilum.io.dicom.fast_header` cannot read, and compressed pixels.

pydicom takes longer to import than a plain series takes to read, so this module is loaded when it is needed.
Every value is read as raw bytes, so that a malformed one is seen, not guessed.
"""

from __future__ import annotations

import io
import warnings
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from pydicom.dataelem import RawDataElement
from pydicom.filereader import _read_file_meta_info, dcmread, read_partial, read_preamble
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import UID, JPEG2000TransferSyntaxes, JPEGExtended12Bit

from hilum.errors import FormatError, UnsupportedError, one_line
from hilum.io.dicom.fields import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    TAGS,
    UNDEFINED,
    Fields,
    PixelPlace,
    header_from,
    number_of,
    numbers_of,
    text_of,
)
from hilum.io.dicom.lut import parse_lut
from hilum.io.dicom.records import Header, ModalityLut
from hilum.io.dicom.sniff import PEEK, PREAMBLE, start_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_DIRECTORY_CLASS = "1.2.840.10008.1.3.10"
_FIRST_PIXELS, _PIXELS = 0x7FE00008, 0x7FE00010  # Float Pixel Data, Pixel Data

_SHARED, _PER_FRAME = 0x52009229, 0x52009230
_PER_FRAME_FIELDS: dict[str, tuple[int, int, Callable[[bytes], Any]]] = {
    "position": (0x00209113, 0x00200032, numbers_of),  # Plane Position Sequence
    "orientation": (0x00209116, 0x00200037, numbers_of),  # Plane Orientation Sequence
    "pixel_spacing": (0x00289110, 0x00280030, numbers_of),  # Pixel Measures Sequence
    "thickness": (0x00289110, 0x00180050, number_of),
    "kernel": (0x00189314, 0x00181210, text_of),  # CT Reconstruction Sequence
    "intercept": (0x00289145, 0x00281052, number_of),  # Pixel Value Transformation Sequence
    "slope": (0x00289145, 0x00281053, number_of),
    "rescale_type": (0x00289145, 0x00281054, text_of),
}
"""Header field: functional group, element in it, how it is read (PS3.3 C.7.6.16.2)."""

_LUTS, _LUT_DESCRIPTOR, _LUT_TYPE, _LUT_DATA = 0x00283000, 0x00283002, 0x00283004, 0x00283006
_WANTED = [*TAGS.values(), _LUTS, _SHARED, _PER_FRAME]

_PLAIN_INFLATED = 2**26
_PLAIN_RATIO = 20
"""More than 64 MiB of a deflated data set that packed to less than a twentieth is a bomb; CT packs to a half."""

_PIECE = 2**16


def open_dicom(file: BinaryIO, start: int) -> BinaryIO:
    """The file as pydicom wants it: with a preamble, if it lost one."""
    file.seek(start)
    return io.BytesIO(bytes(PREAMBLE) + b"DICM" + file.read()) if start else file


def check_inflated(source: BinaryIO) -> None:
    """Refuse a deflated file (PS3.5 A.5) that would fill the memory, since pydicom inflates without bound.

    Parameters
    ----------
    source : binary file
        As `open_dicom` returns it; stands at its start afterwards.

    Raises
    ------
    ValueError
        If it inflates to more than `_PLAIN_INFLATED` and `_PLAIN_RATIO` times its size.
    """
    if read_preamble(source, force=True) is not None:
        meta = _read_file_meta_info(source)
        if str(meta.get("TransferSyntaxUID", "")) == DEFLATED:
            packed, inflated, inflater = b"", 0, zlib.decompressobj(-zlib.MAX_WBITS)
            at, size = source.tell(), source.seek(0, io.SEEK_END)
            limit = max(_PLAIN_INFLATED, _PLAIN_RATIO * (size - at))
            source.seek(at)
            while not inflater.eof and (packed := inflater.unconsumed_tail or source.read(_PIECE)):
                inflated += len(inflater.decompress(packed, _PIECE))
                if inflated > limit:
                    raise ValueError(f"inflates to more than {limit} bytes")
    source.seek(0)


def headers_by_pydicom(file: BinaryIO, name: str, start: int, size: int) -> list[Header]:
    """Read a header of any dialect; what `walk` understands gives the same records either way.

    Parameters
    ----------
    file : binary file
    name : str
        Goes into the records.
    start : int
        As `hilum.io.dicom.sniff.start_of` says.
    size : int
        Bytes of the file.

    Returns
    -------
    list of Header
    """
    source = open_dicom(file, start)
    shift = PREAMBLE + 4 - start if start else 0
    places: list[PixelPlace] = []

    def at_pixels(tag: int, vr: str | None, length: int) -> bool:
        del vr
        if tag < _FIRST_PIXELS:
            return False
        offset = source.tell() - shift
        present = size - offset if length == UNDEFINED else min(length, size - offset)
        places.append(PixelPlace(offset, length, max(present, 0)) if tag == _PIXELS else PixelPlace(-1, 0, 0))
        return True

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check_inflated(source)
            dataset = read_partial(source, stop_when=at_pixels, force=True, specific_tags=cast("list[Any]", _WANTED))
            return _from_dataset(dataset, name, places[0] if places else PixelPlace(-1, 0, 0))
    except OSError:
        raise
    except Exception:  # noqa: BLE001 - pydicom raises whatever malformed bytes lead it to, RecursionError included
        return [Header(name)]


def _from_dataset(dataset: Any, name: str, place: PixelPlace) -> list[Header]:
    meta = raw_fields(dataset.file_meta, (0x00020002, 0x00020010))
    if text_of(meta.get(0x00020002, b"")) == _DIRECTORY_CLASS:
        return []
    implicit, little = dataset.original_encoding
    syntax = text_of(meta.get(0x00020010, b"")) or (IMPLICIT if implicit else EXPLICIT if little else BIG_ENDIAN)
    header = header_from(raw_fields(dataset, TAGS.values()), name, syntax, place)
    header = replace(header, lut=_modality_lut(dataset, header))
    return _frames(dataset, header) if _PER_FRAME in dataset else [header]


def _modality_lut(dataset: Any, header: Header) -> ModalityLut | None:
    items = list(dataset[_LUTS].value or ()) if _LUTS in dataset else []
    if not items:
        return None
    raw = raw_fields(items[0], (_LUT_DESCRIPTOR, _LUT_TYPE, _LUT_DATA))
    data = items[0].get_item(_LUT_DATA)
    return parse_lut(
        raw.get(_LUT_DESCRIPTOR, b""),
        raw.get(_LUT_DATA, b""),
        text_of(raw.get(_LUT_TYPE, b"")).upper(),
        order="big" if header.big_endian else "little",
        signed=header.signed,
        negative=data is not None and data.VR == "SS",
    )


def raw_fields(dataset: Any, tags: Iterable[int]) -> Fields:
    """Values of some elements as the bytes of the file; what pydicom converted already is turned back."""
    fields = {}
    for tag in tags:
        item = dataset.get_item(tag)
        if isinstance(item, RawDataElement):
            value = item.value or b""
            if len(value) >= item.length:  # one that the file's end cuts off is none
                fields[tag] = value
        elif item is not None and not isinstance(item.value, bytes):
            fields[tag] = str(item.value if item.value is not None else "").encode()
        elif item is not None:
            fields[tag] = item.value
    return fields


def _frames(dataset: Any, header: Header) -> list[Header]:
    """One header per frame of an enhanced multi-frame image (PS3.3 C.7.6.16)."""
    items = list(dataset[_PER_FRAME].value)
    shared = list(dataset[_SHARED].value)[:1] if _SHARED in dataset else []
    if len(items) != header.frames:
        return [replace(header, position=())]  # no place for each frame: refused later
    headers = []
    for index, item in enumerate(items):
        changes: dict[str, Any] = {"frame": index}
        for group in (*shared, item):  # what a frame says itself comes last and counts
            for name, (macro, tag, read) in _PER_FRAME_FIELDS.items():
                inner = list(group[macro].value)[:1] if macro in group else []
                if inner and tag in inner[0]:
                    changes[name] = read(raw_fields(inner[0], [tag]).get(tag, b""))
        headers.append(replace(header, **changes))
    return headers


def decode_frames(path: Path, headers: Sequence[Header]) -> list[NDArray[Any]]:
    """Decode frames of one file with pydicom and its plugins.

    Parameters
    ----------
    path : Path
    headers : sequence of Header
        Frames of that file.

    Returns
    -------
    list of ndarray, shape (row, column)
        Stored values.

    Raises
    ------
    FormatError
        If the file or its pixels are damaged.
    UnsupportedError
        If no decoder for their compression is installed.
    """
    syntax = UID(headers[0].transfer_syntax)
    try:
        with path.open("rb") as file:
            dataset = dcmread(open_dicom(file, start_of(file.read(PEEK))), force=True)
        # For JPEG 2000 gdcm comes first otherwise, and writes to stderr of what is damaged.
        decoder = "pylibjpeg" if syntax in JPEG2000TransferSyntaxes else ""
        frames = list(iter_pixels(dataset, indices=[h.frame for h in headers], raw=True, decoding_plugin=decoder))
    except Exception as error:  # pydicom and the decoders raise whatever malformed bytes lead them to
        name = syntax.name if syntax.is_transfer_syntax else "an unknown compression"
        what = f"pixels stored as {one_line(name, limit=80)} cannot be decoded"
        if isinstance(error, NotImplementedError) or (syntax == JPEGExtended12Bit and headers[0].bits_stored > 8):
            raise UnsupportedError(what, where=path, do="decompress with dcmdjpeg", code="no-decoder") from error
        raise FormatError(what, where=path, do="get it again", code="damaged") from error
    for h, frame in zip(headers, frames, strict=True):
        if frame.shape != (h.rows, h.columns):
            what = f"pixels decode to {frame.shape}, the header says {h.rows} x {h.columns}"
            raise FormatError(what, where=path, do="get it again", code="damaged")
    return frames
