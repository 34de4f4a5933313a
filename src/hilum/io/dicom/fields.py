"""Raw values of DICOM elements to a header record: bytes in, numbers out, no repairs."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from hilum.errors import one_line
from hilum.io.dicom.records import SliceHeader

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
NATIVE = frozenset({IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED})
"""Transfer syntaxes whose pixels are not compressed frame by frame (PS3.5 annex A)."""

UNDEFINED = 0xFFFFFFFF
"""The length of a value that ends with a delimiter."""

TAGS = {
    "image_type": 0x00080008,
    "sop_class": 0x00080016,
    "sop_uid": 0x00080018,
    "acquisition_time": 0x00080032,
    "content_time": 0x00080033,
    "modality": 0x00080060,
    "thickness": 0x00180050,
    "slice_step": 0x00180088,
    "kernel": 0x00181210,
    "series_uid": 0x0020000E,
    "acquisition_number": 0x00200012,
    "instance_number": 0x00200013,
    "position": 0x00200032,
    "orientation": 0x00200037,
    "slice_location": 0x00201041,
    "samples": 0x00280002,
    "frames": 0x00280008,
    "rows": 0x00280010,
    "columns": 0x00280011,
    "pixel_spacing": 0x00280030,
    "bits_allocated": 0x00280100,
    "bits_stored": 0x00280101,
    "high_bit": 0x00280102,
    "signed": 0x00280103,
    "smallest": 0x00280106,
    "largest": 0x00280107,
    "padding": 0x00280120,
    "padding_limit": 0x00280121,
    "intercept": 0x00281052,
    "slope": 0x00281053,
    "rescale_type": 0x00281054,
}
"""The elements that are read, by the name of their `SliceHeader` field (PS3.6)."""

Fields = dict[int, bytes]


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
    """
    shared = _shared_fields(syntax, *[fields.get(tag, b"") for tag in _SHARED_TAGS])
    order, bits, signed = "big" if shared["big_endian"] else "little", shared["bits_allocated"], shared["signed"]

    def raw(field: str) -> bytes:
        return fields.get(TAGS[field], b"")

    has_offset = syntax in NATIVE - {DEFLATED} and location.length != UNDEFINED
    maybe_swapped = order == "big" and bits == 8  # bytes in 16-bit words, or not: pydicom knows
    # Offsets inside a deflated stream mean nothing. It could be inflated, so its pixels are complete.
    present = location.length if syntax == DEFLATED else location.present
    usable = (location.length == UNDEFINED) != (syntax in NATIVE)  # compressed pixels have no defined length
    return SliceHeader(
        path=name,
        sop_uid=text_of(raw("sop_uid")),
        position=numbers_of(raw("position")) if shared["frames"] == 1 else (),  # frames cannot share one
        instance_number=_whole_number(raw("instance_number")),
        acquisition_time=text_of(raw("acquisition_time")),
        content_time=text_of(raw("content_time")),
        slice_location=number_of(raw("slice_location")),
        smallest=_pixel_value(raw("smallest"), order, bits, signed=signed),
        largest=_pixel_value(raw("largest"), order, bits, signed=signed),
        pixel_offset=location.offset if has_offset and not maybe_swapped else -1,
        pixel_bytes=present if usable else 0,
        **shared,
    )


_OWN = frozenset({"sop_uid", "position", "instance_number", "acquisition_time", "content_time", "slice_location",
                  "smallest", "largest"})  # fmt: skip
"""Fields in which the slices of a series differ."""

_SHARED = tuple(field for field in TAGS if field not in _OWN)
_SHARED_TAGS = tuple(TAGS[field] for field in _SHARED)


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
    return {
        **{field: text_of(raw[field]) for field in ("series_uid", "modality", "sop_class", "kernel")},
        **{field: numbers_of(raw[field]) for field in ("pixel_spacing", "orientation")},
        **{field: number_of(raw[field]) for field in ("slice_step", "thickness", "slope", "intercept")},
        **{field: integer(field) for field in ("rows", "columns")},
        **{field: _pixel_value(raw[field], order, bits, signed=signed) for field in ("padding", "padding_limit")},
        "frames": max(_whole_number(raw["frames"]) or 1, 1),
        "transfer_syntax": syntax,
        "image_type": tuple(text_of(part) for part in raw["image_type"].split(b"\\")),
        "samples": integer("samples", 1),
        "acquisition_number": _whole_number(raw["acquisition_number"]),
        "rescale_type": text_of(raw["rescale_type"]).upper(),
        "bits_allocated": bits,
        "bits_stored": stored,
        "high_bit": integer("high_bit", max(stored - 1, 0)),
        "signed": signed,
        "big_endian": order == "big",
        "native": syntax in NATIVE,
    }


@lru_cache(maxsize=1024)
def text_of(value: bytes) -> str:
    """A value as safe text: without padding or control characters, at most 1000 characters."""
    text = value.decode("latin-1").strip("\0 ")
    # Faster than `one_line` for nearly every value, with the same result.
    return " ".join(text.split()) if text.isprintable() and len(text) <= 1000 else one_line(text, limit=1000)


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


def _whole_number(value: bytes) -> int | None:
    number = number_of(value)
    return int(number) if number is not None and abs(number) < 2**53 else None


def _pixel_value(value: bytes, order: Any, bits: int, *, signed: bool) -> int | None:
    """A pixel value with the sign of the pixels: 63536 with signed pixels means -2000."""
    if bits not in {8, 16, 32} or len(value) not in {2, 4}:
        return None
    wide = np.int64(int.from_bytes(value, order, signed=signed)) & np.int64((1 << bits) - 1)
    half = np.int64(1 << (bits - 1))
    return int((wide ^ half) - half if signed else wide)
