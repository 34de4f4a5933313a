"""Parse a plain DICOM header in one pass over its first bytes, without building a data set.

The parser understands Part 10 files in the little endian syntaxes. It returns None for anything unusual, which pydicom
then reads: elements out of order, unknown value representations, functional groups, a Modality LUT, a header longer
than `HEAD`, a file that ends before its pixels. What it returns is the same as what pydicom reads.

Most slices of a series have the same layout: the same elements, each as long as in the slice before. A `HeaderLayout`
remembers the offsets. A file of the same size with the same tags and lengths at these offsets needs no parsing.
"""

from __future__ import annotations

import struct
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from hilum.io.dicom.fields import BIG_ENDIAN, DEFLATED, IMPLICIT, TAGS, UNDEFINED, Fields, PixelLocation, text_of
from hilum.io.dicom.sniff import PEEK, PREAMBLE

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD = 32768
"""Bytes of a file that are read at once; CT headers take 2 to 12 kB."""

_PIXELS = 0x7FE00010
_NEEDS_PYDICOM = frozenset({0x00283000, 0x52009229})
"""Modality LUT Sequence, Shared Functional Groups Sequence: the values inside them are needed."""

_META_SYNTAX = 0x00020010
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_WANTED = frozenset(TAGS.values())
_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_SHORT = frozenset((
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL",
    b"SS", b"ST", b"TM", b"UI", b"UL", b"US",
))  # fmt: skip
"""Value representations with a length of four bytes and of two (PS3.5 table 7.1-1)."""

_explicit = struct.Struct("<HH2sH").unpack_from
_implicit = struct.Struct("<HHL").unpack_from
_long = struct.Struct("<L").unpack_from


class HeaderLayout(NamedTuple):
    """The offsets of the elements of a header, and how to recognize another header of the same layout.

    Parameters
    ----------
    structure : callable
        Extracts all bytes of a header but the values of single elements: tags, representations, lengths, sequences.
    expected : tuple of bytes
        What it extracts from a header of this layout.
    wanted : tuple of (int, slice)
        Tag of each element that is read, and the bytes of its value.
    syntax : str
    location : PixelLocation
    """

    structure: Callable[[bytes], Any]
    expected: Any
    wanted: tuple[tuple[int, slice], ...]
    syntax: str
    location: PixelLocation


_MOST_LAYOUTS = 64
_layouts: dict[int, HeaderLayout] = {}
"""The newest layout for each file size; a cache that changes no result."""


def first_read_size(size: int) -> int:
    """The number of bytes to read first: all before the pixels, if a file of this size was read before."""
    layout = _layouts.get(size)
    return HEAD if layout is None else layout.location.offset


def read_plain_header(head: bytes, size: int) -> tuple[Fields, str, PixelLocation] | None:
    """Read the elements of `hilum.io.dicom.fields.TAGS` from the first bytes of a file.

    Parameters
    ----------
    head : bytes
        The first `HEAD` bytes, or the whole file if it is shorter. `first_read_size` may ask for fewer.
    size : int
        Bytes of the file.

    Returns
    -------
    fields : dict of int to bytes
    syntax : str
        Transfer Syntax UID.
    location : PixelLocation
        Not a tuple but None for anything unusual.
    """
    if head[PREAMBLE:PEEK] != b"DICM":
        return None
    layout = _layouts.get(size)
    if layout is None or layout.structure(head) != layout.expected:
        try:
            layout = _parse_layout(head, size)
        except (struct.error, ValueError):  # the header continues beyond `head`, or is malformed
            return None
        if layout is None:
            return None
        if len(_layouts) >= _MOST_LAYOUTS:
            _layouts.clear()
        _layouts[size] = layout
    return {tag: head[span] for tag, span in layout.wanted}, layout.syntax, layout.location


def _parse_layout(head: bytes, size: int) -> HeaderLayout | None:
    spans = [slice(PREAMBLE, PEEK)]
    meta, start = _parse_meta(head, spans)
    syntax = text_of(meta.get(_META_SYNTAX, b""))
    if not syntax.startswith(IMPLICIT) or syntax in {BIG_ENDIAN, DEFLATED}:
        return None  # private syntaxes may be anything
    elements = _parse_dataset(head, start, size, syntax, spans)
    if elements is None:
        return None
    wanted, location = elements
    structure = itemgetter(*spans)
    return HeaderLayout(structure, structure(head), tuple(wanted.items()), syntax, location)


def _parse_meta(head: bytes, spans: list[slice]) -> tuple[Fields, int]:
    """Read the file meta information; return its values and the offset of the data set."""
    fields: Fields = {}
    at = PEEK
    while head[at : at + 2] == b"\x02\x00":
        tag, _, start, length = _element_header(head, at, explicit=True)
        end = start + length
        if end > len(head):
            raise ValueError("the value ends beyond the bytes that were read")
        fields[tag] = head[start:end]
        spans.append(slice(at, end if tag == _META_SYNTAX else start))
        at = end
    return fields, at


def _element_header(head: bytes, at: int, *, explicit: bool) -> tuple[int, bytes, int, int]:
    """Tag, value representation, start of the value and its length.

    Raises ValueError if the representation is unknown, struct.error beyond the end of `head`.
    """
    if not explicit:
        group, number, length = _implicit(head, at)
        return group << 16 | number, b"", at + 8, length
    group, number, kind, length = _explicit(head, at)
    if kind in _SHORT:
        return group << 16 | number, kind, at + 8, length
    if kind not in _LONG:
        raise ValueError("unknown value representation")
    return group << 16 | number, kind, at + 12, _long(head, at + 8)[0]


def _parse_dataset(
    head: bytes, at: int, size: int, syntax: str, spans: list[slice]
) -> tuple[dict[int, slice], PixelLocation] | None:
    """Locate the wanted values and the pixels; append the bytes that are structure to `spans`."""
    wanted: dict[int, slice] = {}
    explicit = syntax != IMPLICIT
    last = 0x0007FFFF
    kind = b""
    while True:
        if explicit:
            group, number, kind, length = _explicit(head, at)
            if kind in _SHORT:  # most elements: calling `_element_header` for each would double the time
                tag, start = group << 16 | number, at + 8
            else:
                tag, kind, start, length = _element_header(head, at, explicit=True)
        else:
            group, number, length = _implicit(head, at)
            tag, start = group << 16 | number, at + 8
        if tag <= last or tag in _NEEDS_PYDICOM:
            return None
        spans.append(slice(at, start))
        if tag >= _PIXELS:
            if tag != _PIXELS or (explicit and kind not in {b"OB", b"OW"}):
                return None
            left = size - start
            return wanted, PixelLocation(start, length, left if length == UNDEFINED else min(length, left))
        last = tag
        if length == UNDEFINED:
            at = _end_of_sequence(head, start, kind, explicit=explicit)
            spans[-1] = slice(spans[-1].start, at)
            continue
        at = start + length
        if tag in _WANTED:
            if at > len(head):
                return None
            wanted[tag] = slice(start, at)


def _end_of_sequence(head: bytes, at: int, kind: bytes, *, explicit: bool) -> int:
    """The offset after a sequence of undefined length; counts nested sequences without recursion."""
    if explicit and kind != b"SQ":
        raise ValueError("only sequences end with a delimiter before the pixels")
    depth = 1
    while depth:
        group, number, length = _implicit(head, at)
        tag = group << 16 | number
        if tag in {_ITEM, _ITEM_END, _SEQUENCE_END}:
            depth -= tag == _SEQUENCE_END
            at += 8 + (length if tag == _ITEM and length != UNDEFINED else 0)
            continue
        _, kind, at, length = _element_header(head, at, explicit=explicit)
        if length != UNDEFINED:
            at += length
        elif explicit and kind != b"SQ":
            raise ValueError("only sequences end with a delimiter before the pixels")
        else:
            depth += 1
    return at
