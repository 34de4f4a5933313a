"""Raw values of DICOM elements to a header record: bytes in, numbers out, no repairs."""

import hashlib
import math
import struct
from functools import lru_cache
from typing import Any, NamedTuple

from hilum.errors import one_line
from hilum.io.dicom import odd_values
from hilum.io.dicom.odd_values import OddValue, describe_syntax
from hilum.io.dicom.records import SliceHeader

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
GE_PRIVATE = "1.2.840.113619.5.2"
"""The header in implicit VR, little endian; the pixels big endian (DICOM conformance statements of GE)."""

NATIVE = frozenset({IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED, GE_PRIVATE})
"""Transfer syntaxes whose pixels are not compressed frame by frame (PS3.5 annex A)."""

COMPRESSED = "1.2.840.10008.1.2."
"""The start of the standard's compressed transfer syntaxes; of `NATIVE` ones too."""

UNDEFINED = 0xFFFFFFFF  # the length of a value that ends with a delimiter

TAGS = {
    "image_type": 0x00080008, "sop_class": 0x00080016, "sop_uid": 0x00080018, "acquisition_time": 0x00080032,
    "content_time": 0x00080033, "modality": 0x00080060, "description": 0x0008103E, "patient_name": 0x00100010,
    "patient_id": 0x00100020, "thickness": 0x00180050, "kvp": 0x00180060, "slice_step": 0x00180088,
    "trigger_time": 0x00181060, "kernel": 0x00181210, "study_uid": 0x0020000D,
    "series_uid": 0x0020000E, "series_number": 0x00200011, "acquisition_number": 0x00200012,
    "instance_number": 0x00200013, "position": 0x00200032, "orientation": 0x00200037, "frame_uid": 0x00200052,
    "temporal_position": 0x00200100, "slice_location": 0x00201041, "comments": 0x00204000,
    "temporal_index": 0x00209128, "cardiac_phase": 0x00209241, "respiratory_phase": 0x00209245,
    "samples": 0x00280002, "frames": 0x00280008, "rows": 0x00280010, "columns": 0x00280011,
    "pixel_spacing": 0x00280030, "bits_allocated": 0x00280100, "bits_stored": 0x00280101, "high_bit": 0x00280102,
    "signed": 0x00280103, "smallest": 0x00280106, "largest": 0x00280107, "padding": 0x00280120,
    "padding_limit": 0x00280121, "intercept": 0x00281052, "slope": 0x00281053, "rescale_type": 0x00281054,
    "overlay_bit": 0x60000102,
}  # fmt: skip
"""The elements that are read, by the name of their `SliceHeader` field (PS3.6).

The patient's name and ID become the field ``patient``, the temporal index becomes ``temporal_position``.
"""

Fields = dict[int, bytes]

PREAMBLE = 128  # a Part 10 file starts with 128 free bytes, then ``DICM`` (PS3.10 section 7.1)

PEEK = PREAMBLE + 4

_OWN = frozenset({"sop_uid", "position", "instance_number", "acquisition_time", "content_time", "slice_location",
                  "smallest", "largest", "trigger_time", "comments"})  # fmt: skip
"""Fields in which the slices of a series differ."""

_SHARED = {field: tag for field, tag in TAGS.items() if field not in _OWN}


class PixelLocation(NamedTuple):
    """Offset of the pixel data, their declared length, and the bytes that the file has of them."""

    offset: int
    length: int
    present: int


def header_from(name: str, fields: Fields, syntax: str, location: PixelLocation) -> SliceHeader:
    """Make a header record from raw values.

    Parameters
    ----------
    name : str
        Path of the file, for the record.
    fields : dict of int to bytes
        By tag, as in the file.
    syntax : str
        Transfer Syntax UID.
    location : PixelLocation
        Where the pixels lie in the file.
    """
    shared = _shared_fields(syntax, *[fields.get(tag, b"") for tag in _SHARED.values()])
    order, bits, signed = "big" if syntax == BIG_ENDIAN else "little", shared["bits_allocated"], shared["signed"]

    raw = {field: fields.get(TAGS[field], b"") for field in _OWN}
    position = numbers_of(raw["position"])
    if len(position) != 3 and raw["position"]:
        position, odd = number_field("position", raw["position"])
        shared = {**shared, "odd": shared["odd"] + odd}
    if (location.length == UNDEFINED) == (syntax in NATIVE):  # compressed pixels have no defined length
        shared = {**shared, **_contradicting_pixels(shared, location)}
    has_offset = shared["native"] and syntax != DEFLATED and location.length != UNDEFINED
    maybe_swapped = shared["big_endian"] and bits == 8  # bytes in 16-bit words, or not: pydicom knows
    # Offsets inside a deflated stream mean nothing. It could be inflated, so its pixels are complete.
    present = location.length if syntax == DEFLATED else location.present
    usable = (location.length == UNDEFINED) != shared["native"]
    return SliceHeader(
        path=name,
        sop_uid=text_of(raw["sop_uid"]),
        position=position if shared["frames"] == 1 else (),  # frames cannot share one
        shared_position=position if shared["frames"] > 1 else (),
        instance_number=_whole_number(raw["instance_number"]),
        acquisition_time=text_of(raw["acquisition_time"]),
        content_time=text_of(raw["content_time"]),
        trigger_time=text_of(raw["trigger_time"]),
        comments=digest_of(raw["comments"]),
        slice_location=number_of(raw["slice_location"]),
        smallest=_pixel_value(raw["smallest"], order, bits, signed=signed),
        largest=_pixel_value(raw["largest"], order, bits, signed=signed),
        pixel_offset=location.offset if has_offset and not maybe_swapped else -1,
        pixel_bytes=present if usable else 0,
        **shared,
    )


def _contradicting_pixels(shared: dict[str, Any], location: PixelLocation) -> dict[str, Any]:
    """What changes in a header whose transfer syntax and pixel data contradict each other.

    Uncompressed pixels under the name of a standard compression, as a gateway leaves them that decompresses, are read
    if their length is exactly that of the matrix.
    """
    size = shared["frames"] * shared["rows"] * shared["columns"] * shared["samples"] * shared["bits_allocated"] // 8
    syntax = describe_syntax(shared["transfer_syntax"])
    if not location.length:
        return {}
    if location.length == UNDEFINED:
        odd = OddValue("bad-syntax", "TransferSyntaxUID", f"{syntax} is not compressed, but the pixel data are")
    elif size > 0 and shared["transfer_syntax"].startswith(COMPRESSED) and location.length in {size, size + size % 2}:
        odd = OddValue("odd-syntax", "TransferSyntaxUID", f"{syntax}, but the pixel data are not compressed")
        return {"native": True, "odd": (*shared["odd"], odd)}
    else:
        what = f"{syntax} is compressed or unknown, but the pixels are one block of {location.length} bytes, not {size}"
        odd = OddValue("bad-syntax", "TransferSyntaxUID", what)
    return {"odd": (*shared["odd"], odd)}


@lru_cache(maxsize=64)
def _shared_fields(syntax: str, *raw_values: bytes) -> dict[str, Any]:
    """Fields that are usually the same in all slices of a series; cached for that reason."""
    raw = dict(zip(_SHARED, raw_values, strict=True))
    order: Any = "big" if syntax == BIG_ENDIAN else "little"

    def integer(field: str, default: int = 0) -> int:
        value = raw[field][:2]
        return int.from_bytes(value, order) if len(value) == 2 else default

    bits = integer("bits_allocated")
    stored = integer("bits_stored", bits)
    signed = integer("signed") == 1
    texts = {field: text_of(raw[field]) for field in ("series_uid", "modality", "sop_class", "kernel")}
    numbers = {field: number_field(field, raw[field]) for field in odd_values.NUMBERS if field in raw}
    rescale_type = text_of(raw["rescale_type"]).upper()
    rescaled = bool(raw["slope"] and raw["intercept"]) and (rescale_type == "HU" or bool(texts["kernel"]))
    modality, odd = odd_values.read_modality(texts["modality"], texts["sop_class"], has_ct_values=rescaled)
    odds = [odd] if odd else []
    if syntax == GE_PRIVATE:
        text = f"{describe_syntax(syntax)} is read as Implicit VR Little Endian with big endian pixels"
        odds.append(OddValue("odd-syntax", "TransferSyntaxUID", text))
    return {
        **texts,
        **{field: text_of(raw[field]) for field in ("study_uid", "frame_uid", "kvp")},
        "patient": digest_of(raw["patient_id"]) or digest_of(raw["patient_name"]),
        "description": digest_of(raw["description"]),
        "temporal_position": text_of(raw["temporal_position"]) or binary_count_text(raw["temporal_index"], order),
        **{field: binary_number(raw[field], order) for field in ("cardiac_phase", "respiratory_phase")},
        "modality": modality,
        **{field: value for field, (value, _) in numbers.items()},
        "odd": (*odds, *(odd for _, found in numbers.values() for odd in found)),
        **{field: integer(field) for field in ("rows", "columns")},
        **{field: _pixel_value(raw[field], order, bits, signed=signed) for field in ("padding", "padding_limit")},
        "frames": max(_whole_number(raw["frames"]) or 1, 1),
        "transfer_syntax": syntax,
        "image_type": types_of(raw["image_type"]),
        "samples": integer("samples", 1),
        **{field: _whole_number(raw[field]) for field in ("series_number", "acquisition_number")},
        "rescale_type": rescale_type,
        "bits_allocated": bits,
        "bits_stored": stored,
        "high_bit": integer("high_bit", max(stored - 1, 0)),
        "signed": signed,
        "big_endian": syntax in {BIG_ENDIAN, GE_PRIVATE},
        "native": syntax in NATIVE,
        "has_overlay": bool(raw["overlay_bit"]),
    }


@lru_cache(maxsize=1024)
def text_of(value: bytes) -> str:
    """A value as safe text: without padding or control characters, at most 1000 characters."""
    text = value.decode("latin-1").strip("\0 ")
    # Faster than `one_line` for nearly every value, with the same result.
    return " ".join(text.split()) if text.isprintable() and len(text) <= 1000 else one_line(text, limit=1000)


@lru_cache(maxsize=64)
def digest_of(value: bytes) -> str:
    """Hash a text that may hold anything, also names: it is compared, never shown. Empty for an empty text."""
    text = text_of(value).casefold()
    return hashlib.sha256(text.encode()).hexdigest()[:16] if text else ""


@lru_cache(maxsize=64)
def binary_number(value: bytes, order: Any = "little") -> str:
    """A number of the representations FL (4 bytes) or FD (8 bytes) as text; empty if it is absent or malformed."""
    if len(value) not in {4, 8}:
        return ""
    number = struct.unpack(f"{'>' if order == 'big' else '<'}{'f' if len(value) == 4 else 'd'}", value)[0]
    return f"{number:g}" if math.isfinite(number) else ""


def binary_count(value: bytes, order: Any = "little") -> int | None:
    """A number of the representations US (2 bytes) or UL (4 bytes); None if it is absent or malformed."""
    return int.from_bytes(value, order) if len(value) in {2, 4} else None


def binary_count_text(value: bytes, order: Any = "little") -> str:
    """As `binary_count`, as text."""
    count = binary_count(value, order)
    return "" if count is None else str(count)


def types_of(value: bytes) -> tuple[str, ...]:
    """The values of ImageType or FrameType."""
    return tuple(text_of(part) for part in value.split(b"\\"))


@lru_cache(maxsize=1024)
def numbers_of(value: bytes) -> tuple[float, ...]:
    """Decimal strings as numbers; empty if any of them is not a number."""
    if not value.strip(b"\0 "):
        return ()
    try:
        return tuple(float(part.strip(b"\0 ").decode("ascii")) for part in value.split(b"\\"))
    except ValueError:
        return ()


def number_of(value: bytes) -> float | None:
    """One decimal string; None if it is absent, nan if it is not a number."""
    if not value.strip(b"\0 "):
        return None
    parsed = numbers_of(value)
    return parsed[0] if len(parsed) == 1 else math.nan


def number_field(field: str, value: bytes) -> tuple[Any, tuple[OddValue, ...]]:
    """The value of a field of `odd_values.NUMBERS`, and what is odd about it.

    Returns
    -------
    tuple of float, or float or None
        As `numbers_of` for a field of several numbers, as `number_of` for a field of one.
    tuple of OddValue
        One at most.
    """
    count = odd_values.NUMBERS[field].size
    values = numbers_of(value)
    odd: tuple[OddValue, ...] = ()
    blank = not value.strip(b"\0 ")
    if len(values) != count and not blank:
        values, found = odd_values.read_odd_numbers(field, value)
        odd = (found,)
    if count > 1:
        return values, odd
    return None if blank else values[0] if values else math.nan, odd


def _whole_number(value: bytes) -> int | None:
    number = number_of(value)
    return int(number) if number is not None and abs(number) < 2**53 else None


def _pixel_value(value: bytes, order: Any, bits: int, *, signed: bool) -> int | None:
    """A pixel value with the sign of the pixels: 63536 with signed pixels means -2000."""
    if bits not in {8, 16, 32} or len(value) not in {2, 4}:
        return None
    wide, half = int.from_bytes(value, order, signed=signed) & ((1 << bits) - 1), 1 << (bits - 1)
    return (wide ^ half) - half if signed else wide


def start_of(head: bytes) -> int:
    """Find where the DICOM part of a file starts.

    Parameters
    ----------
    head : bytes
        The first `PEEK` bytes of the file, or the whole file if it is shorter.

    Returns
    -------
    int
        0 for a regular Part 10 file and for one without file meta information, 4 for one that lost its
        preamble, -1 for a file that is not DICOM.
    """
    if head[PREAMBLE:PEEK] == b"DICM":
        return 0
    if head[:4] == b"DICM":
        return 4
    # Old archives wrote bare data sets: they start with an element of group 2 or 8, little endian.
    if len(head) < 12 or head[:2] not in {b"\x02\x00", b"\x08\x00"} or head[3] != 0:
        return -1
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    return 0 if explicit or int.from_bytes(head[4:8], "little") <= 256 else -1  # implicit VR: a short first value
