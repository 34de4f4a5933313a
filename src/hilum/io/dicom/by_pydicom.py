"""Any DICOM, through pydicom: headers that `hilum.io.dicom.headers` cannot read, and compressed pixels.

pydicom takes longer to import than a plain series takes to read, so other modules import this one late. All values are
read as raw bytes, so that pydicom does not repair malformed ones.
"""

import io
import warnings
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, cast

from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement
from pydicom.filereader import dcmread, read_dataset, read_partial, read_preamble
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import UID, JPEG2000TransferSyntaxes, JPEGExtended12Bit, MediaStorageDirectoryStorage

from hilum.errors import FormatError, UnsupportedError, one_line
from hilum.io.archives import gunzip, is_packed_slice
from hilum.io.dicom import fields, records
from hilum.io.dicom.luts import ModalityLut, parse_lut
from hilum.io.dicom.odd_values import NUMBERS, describe_syntax

_SOP_CLASS, _TRANSFER_SYNTAX = 0x00020002, 0x00020010
_FIRST_PIXELS, _PIXELS = 0x7FE00008, 0x7FE00010  # Float Pixel Data, Pixel Data

_SHARED, _PER_FRAME = 0x52009229, 0x52009230
_PER_FRAME_FIELDS = {
    "position": (0x00209113, 0x00200032),  # Plane Position Sequence
    "orientation": (0x00209116, 0x00200037),  # Plane Orientation Sequence
    "pixel_spacing": (0x00289110, 0x00280030),  # Pixel Measures Sequence
    "thickness": (0x00289110, 0x00180050),
    "slice_step": (0x00289110, 0x00180088),
    "kernel": (0x00189314, 0x00181210),  # CT Reconstruction Sequence
    "intercept": (0x00289145, 0x00281052),  # Pixel Value Transformation Sequence
    "slope": (0x00289145, 0x00281053),
    "rescale_type": (0x00289145, 0x00281054),
    "temporal_position": (0x00209111, 0x00209128),  # Frame Content Sequence
    "acquisition_number": (0x00209111, 0x00209156),
    "acquisition_time": (0x00209111, 0x00189074),
    "content_time": (0x00209111, 0x00189151),
    "comments": (0x00209111, 0x00209158),
    "image_type": (0x00189329, 0x00089007),  # CT Image Frame Type Sequence
    "cardiac_phase": (0x00189118, 0x00209241),  # Cardiac Synchronization Sequence
    "trigger_time": (0x00189118, 0x00209153),
    "respiratory_phase": (0x00209253, 0x00209245),  # Respiratory Synchronization Sequence
}
"""Field of `SliceHeader`: functional group, element in it (PS3.3 C.7.6.16.2)."""

_PARSERS: dict[str, Callable[[bytes], Any]] = {
    "temporal_position": fields.binary_count_text,
    "acquisition_number": fields.binary_count,
    "comments": fields.digest_of,
    "image_type": fields.types_of,
    **dict.fromkeys(("cardiac_phase", "trigger_time", "respiratory_phase"), fields.binary_number),
}
"""Parsers of those that are neither text nor decimal strings."""

_TOOLS = {
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{family}" for family in "567"), "dcmdjpeg"),
    "1.2.840.10008.1.2.4.8": "dcmdjpls",
    "1.2.840.10008.1.2.5": "dcmdrle",
}
"""What decompresses, by the start of the transfer syntax."""

_LUTS, _LUT_DESCRIPTOR, _LUT_TYPE, _LUT_DATA = 0x00283000, 0x00283002, 0x00283004, 0x00283006
_WANTED = [*fields.TAGS.values(), _LUTS, _SHARED, _PER_FRAME]


def _with_preamble(file: BinaryIO, start: int) -> BinaryIO:
    """A file as pydicom expects it: with a preamble, even if it lost its own."""
    file.seek(start)
    return io.BytesIO(bytes(fields.PREAMBLE) + b"DICM" + file.read()) if start else file


def _check_inflated_size(source: BinaryIO) -> None:
    """Raise ValueError for a deflated file (PS3.5 A.5) that would fill the memory: pydicom inflates without limit.

    Seeks to the start of the file afterwards.
    """
    if read_preamble(source, force=True) is not None:
        # It is in explicit VR, little endian.
        meta = read_dataset(source, False, True, stop_when=lambda tag, *_: tag.group != 2)
        if str(meta.get("TransferSyntaxUID", "")) == fields.DEFLATED:
            packed, inflated, inflater = b"", 0, zlib.decompressobj(-zlib.MAX_WBITS)
            at, size = source.tell(), source.seek(0, io.SEEK_END)
            limit = max(2**26, 20 * (size - at))  # 64 MiB and 20 times the packed size: CT packs to a half
            source.seek(at)
            while not inflater.eof and (packed := inflater.unconsumed_tail or source.read(2**16)):
                inflated += len(inflater.decompress(packed, 2**16))
                if inflated > limit:
                    raise ValueError(f"inflates to more than {limit} bytes")
    source.seek(0)


def headers_by_pydicom(file: BinaryIO, name: str, start: int, size: int) -> list[records.SliceHeader]:
    """Read a header of any dialect.

    For a header that `hilum.io.dicom.headers.read_plain_header` understands, the records are the same.

    Parameters
    ----------
    file : binary file
        The open file, at its start.
    name : str
        Name of the file for the records.
    start : int
        As `hilum.io.dicom.fields.start_of` returns it.
    size : int
        Bytes of the file.

    Returns
    -------
    list of SliceHeader
        As `hilum.io.dicom.headers.read_headers` returns it.
    """
    source = _with_preamble(file, start)
    shift = fields.PREAMBLE + 4 - start if start else 0
    location = fields.PixelLocation(-1, 0, 0)

    def at_pixels(tag: int, _vr: str | None, length: int) -> bool:
        nonlocal location
        if tag == _PIXELS:
            offset = source.tell() - shift
            present = size - offset if length == fields.UNDEFINED else min(length, size - offset)
            location = fields.PixelLocation(offset, length, max(present, 0))
        return tag >= _FIRST_PIXELS

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _check_inflated_size(source)
            dataset = read_partial(source, stop_when=at_pixels, force=True, specific_tags=cast("list[Any]", _WANTED))
            return _from_dataset(dataset, name, location)
    except OSError:
        raise
    except Exception:  # noqa: BLE001 - malformed bytes make pydicom raise anything, RecursionError included
        return [records.SliceHeader(name)]


def _from_dataset(dataset: Any, name: str, location: fields.PixelLocation) -> list[records.SliceHeader]:
    meta = _raw_fields(dataset.file_meta, (_SOP_CLASS, _TRANSFER_SYNTAX))
    if fields.text_of(meta.get(_SOP_CLASS, b"")) == MediaStorageDirectoryStorage:
        return []
    implicit, little = dataset.original_encoding
    encoding = fields.IMPLICIT if implicit else fields.EXPLICIT if little else fields.BIG_ENDIAN
    syntax = fields.text_of(meta.get(_TRANSFER_SYNTAX, b"")) or encoding
    header = fields.header_from(name, _raw_fields(dataset, fields.TAGS.values()), syntax, location)
    header = replace(header, lut=_modality_lut(dataset, header))
    return _frame_headers(dataset, header) if _PER_FRAME in dataset else [header]


def _modality_lut(dataset: Any, header: records.SliceHeader) -> ModalityLut | None:
    if _LUTS not in dataset or not dataset[_LUTS].value:
        return None
    item = dataset[_LUTS].value[0]
    raw, data = _raw_fields(item, (_LUT_DESCRIPTOR, _LUT_TYPE, _LUT_DATA)), item.get_item(_LUT_DATA)
    descriptor, kind_text, table = (raw.get(tag, b"") for tag in (_LUT_DESCRIPTOR, _LUT_TYPE, _LUT_DATA))
    order = "big" if header.transfer_syntax == fields.BIG_ENDIAN else "little"
    negative = data is not None and data.VR == "SS"
    kind = fields.text_of(kind_text).upper()
    return parse_lut(descriptor, table, kind, order=order, signed=header.signed, negative=negative)


def _raw_fields(dataset: Any, tags: Iterable[int]) -> fields.Fields:
    """Values of some elements as bytes; values that pydicom has converted are encoded again."""
    values = {}
    for tag in tags:
        item = dataset.get_item(tag)
        if isinstance(item, RawDataElement):
            if len(item.value or b"") >= item.length:  # drop a value that the end of the file cuts off
                values[tag] = item.value or b""
        elif item is not None:
            value = "" if item.value is None else item.value
            values[tag] = value if isinstance(value, bytes) else str(value).encode()
    return values


def _frame_headers(dataset: Any, header: records.SliceHeader) -> list[records.SliceHeader]:
    """One header per frame of an enhanced multi-frame image (PS3.3 C.7.6.16)."""
    items = list(dataset[_PER_FRAME].value)
    shared = list(dataset[_SHARED].value)[:1] if _SHARED in dataset else []
    if len(items) != header.frames:
        return [replace(header, shared_position=(), slice_step=None)]  # the frames have no positions: refused later
    headers = []
    for index, item in enumerate(items):
        changes: dict[str, Any] = {"frame": index}
        for group in (*shared, item):  # the values of a frame override the shared ones
            for name, (macro, tag) in _PER_FRAME_FIELDS.items():
                inner = list(group[macro].value)[:1] if macro in group else []
                if inner and tag in inner[0]:
                    raw = _raw_fields(inner[0], [tag]).get(tag, b"")
                    if name in NUMBERS:
                        changes[name], odd = fields.number_field(name, raw)
                        changes["odd"] = changes.get("odd", header.odd) + odd
                    else:
                        changes[name] = _PARSERS.get(name, fields.text_of)(raw)
        headers.append(replace(header, **changes))
    return headers


def decode_frames(path: Path, headers: Sequence[records.SliceHeader]) -> list[NDArray[Any]]:
    """Decode frames of one file with pydicom and its plugins.

    Parameters
    ----------
    path : Path
        The file.
    headers : sequence of SliceHeader
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
        with io.BytesIO(gunzip(path)) if is_packed_slice(path.name) else path.open("rb") as file:
            dataset = dcmread(_with_preamble(file, fields.start_of(file.read(fields.PEEK))), force=True)
        # gdcm, the first choice for JPEG 2000, prints messages about damaged frames.
        decoder = "pylibjpeg" if syntax in JPEG2000TransferSyntaxes else ""
        frames = list(iter_pixels(dataset, indices=[h.frame for h in headers], raw=True, decoding_plugin=decoder))
    except Exception as error:  # malformed bytes make pydicom and the decoders raise anything
        name = syntax.name if syntax.is_transfer_syntax else describe_syntax(str(syntax))
        what = f"pixels stored as {one_line(name, limit=80)} cannot be decoded"
        if isinstance(error, NotImplementedError) or (syntax == JPEGExtended12Bit and headers[0].bits_stored > 8):
            tool = next((name for start, name in _TOOLS.items() if syntax.startswith(start)), "gdcmconv --raw")
            raise UnsupportedError(what, where=path, do=f"decompress it with {tool}", code="no-decoder") from error
        raise FormatError(what, where=path, do="get it again", code="damaged") from error
    for h, frame in zip(headers, frames, strict=True):
        if frame.shape != (h.rows, h.columns):
            what = f"pixels decode to {frame.shape}, the header says {h.rows} x {h.columns}"
            raise FormatError(what, where=path, do="get it again", code="damaged")
    return frames
