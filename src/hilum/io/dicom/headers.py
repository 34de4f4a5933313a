"""The headers of all frames of a file: plain ones are parsed here in one pass, pydicom reads the others.

The parser understands Part 10 files in the little endian syntaxes. It returns None for anything unusual, which pydicom
then reads: elements out of order, unknown value representations, functional groups, a Modality LUT, a header longer
than `HEAD`, a file that ends before its pixels. What it returns is the same as what pydicom reads.

Most slices of a series have the same layout: the same elements, each as long as in the slice before. A `HeaderLayout`
remembers the offsets. A file of the same size with the same tags and lengths at these offsets needs no parsing.
"""

import io
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from hilum._os.files import READ
from hilum.io.archives import gunzip, is_packed_slice
from hilum.io.dicom import fields, records
from hilum.io.dicom.fields import IMPLICIT, PEEK, PREAMBLE, UNDEFINED, PixelLocation

HEAD = 32768  # bytes of a file that are read at once; CT headers take 2 to 12 kB

_PIXELS = 0x7FE00010
_NEEDS_PYDICOM = frozenset({0x00283000, 0x52009229})
"""Modality LUT Sequence, Shared Functional Groups Sequence: the values inside them are needed."""

_META_SYNTAX = 0x00020010
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_WANTED = frozenset(fields.TAGS.values())
_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_SHORT = frozenset((
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL",
    b"SS", b"ST", b"TM", b"UI", b"UL", b"US",
))  # fmt: skip
"""Value representations with a length of four bytes and of two (PS3.5 table 7.1-1)."""

_explicit = struct.Struct("<HH2sH").unpack_from
_implicit = struct.Struct("<HHL").unpack_from
_long = struct.Struct("<L").unpack_from

_MOST_LAYOUTS = 64


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
        The UID of the transfer syntax.
    location : PixelLocation
        Where the pixels lie in the file.
    """

    structure: Callable[[bytes], Any]
    expected: Any
    wanted: tuple[tuple[int, slice], ...]
    syntax: str
    location: PixelLocation


_layouts: dict[int, HeaderLayout] = {}  # the newest layout for each file size; a cache that changes no result


def read_plain_header(head: bytes, size: int) -> tuple[fields.Fields, str, PixelLocation] | None:
    """Read the elements of `hilum.io.dicom.fields.TAGS` from the first bytes of a file.

    Parameters
    ----------
    head : bytes
        The first `HEAD` bytes, or the whole file if it is shorter. For a known layout the bytes before the pixels are
        enough.
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
    if (layout := _layouts.get(size)) is None or layout.structure(head) != layout.expected:
        try:
            layout = _parse_layout(head, size)
        except (struct.error, ValueError):  # not plain: unusual or malformed, or it continues beyond `head`
            return None
        if len(_layouts) >= _MOST_LAYOUTS:
            _layouts.clear()
        _layouts[size] = layout
    return {tag: head[span] for tag, span in layout.wanted}, layout.syntax, layout.location


def _parse_layout(head: bytes, size: int) -> HeaderLayout:
    """Parse a header; raise ValueError or struct.error if it is not plain."""
    spans, syntax, at = [slice(PREAMBLE, PEEK)], "", PEEK
    while head[at : at + 2] == b"\x02\x00":  # the file meta information
        tag, _, start, length = _element_header(head, at, explicit=True)
        end = start + length
        if end > len(head):
            raise ValueError("the value ends beyond the bytes that were read")
        if tag == _META_SYNTAX:
            syntax = fields.text_of(head[start:end])
        spans.append(slice(at, end if tag == _META_SYNTAX else start))
        at = end
    if not syntax.startswith(IMPLICIT) or syntax in {fields.BIG_ENDIAN, fields.DEFLATED}:
        raise ValueError("private syntaxes may be anything")
    wanted, location = _parse_dataset(head, at, size, syntax, spans)
    structure = itemgetter(*spans)
    return HeaderLayout(structure, structure(head), tuple(wanted.items()), syntax, location)


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
) -> tuple[dict[int, slice], PixelLocation]:
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
            raise ValueError("elements out of order, or with values that pydicom reads")
        spans.append(slice(at, start))
        if tag >= _PIXELS:
            if tag != _PIXELS or (explicit and kind not in {b"OB", b"OW"}):
                raise ValueError("no pixels, or pixels of an unusual kind")
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
                raise ValueError("the value ends beyond the bytes that were read")
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


def read_headers(root: Path, name: str) -> list[records.SliceHeader] | None:
    """Read the headers of all frames of one file.

    Parameters
    ----------
    root : Path
        The folder searched.
    name : str
        The file, relative to it.

    Returns
    -------
    list of SliceHeader or None
        One per frame. A header that is too damaged to read has no values; a DICOM directory gives an empty list. None
        for a file that is not DICOM.

    Raises
    ------
    OSError
        If the file cannot be opened or read.
    """
    path = f"{root}{os.sep}{name}"  # making a Path of each name takes longer than opening the file
    file = os.open(path, READ)
    try:
        size = os.fstat(file).st_size
        layout = _layouts.get(size)
        head = os.read(file, HEAD if layout is None else layout.location.offset)
        plain = read_plain_header(head, size)
        if plain is None and len(head) < min(size, HEAD):
            head += os.read(file, HEAD - len(head))
            plain = read_plain_header(head, size)
    finally:
        os.close(file)
    if (start := fields.start_of(head[:PEEK])) < 0:
        return _packed_headers(root, name) if head[:2] == b"\x1f\x8b" and is_packed_slice(name) else None
    if plain is not None:
        return [fields.header_from(name, *plain)]
    from hilum.io.dicom.by_pydicom import headers_by_pydicom

    with io.BufferedReader(io.FileIO(path)) as source:
        return headers_by_pydicom(source, name, start, size)


def _packed_headers(root: Path, name: str) -> list[records.SliceHeader] | None:
    """Read the headers of a slice that is packed with gzip; its pixels are read by pydicom."""
    try:
        data = gunzip(root / name)
    except ValueError:
        return [records.SliceHeader(name)]
    if (start := fields.start_of(data[:PEEK])) < 0:
        return None
    from hilum.io.dicom.by_pydicom import headers_by_pydicom

    headers = headers_by_pydicom(io.BytesIO(data), name, start, len(data))
    return [replace(header, pixel_offset=-1) for header in headers]
