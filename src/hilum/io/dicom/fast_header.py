"""The quick way through a plain DICOM header: one pass over its first bytes, no data set built.

It understands Part 10 files in the little endian syntaxes and gives up (None) on whatever is unusual, so that
pydicom decides: elements out of order, unknown value representations, functional groups, a Modality LUT, a header
longer than `HEAD`, a file that ends before its pixels. What it does return is what `hilum.io.dicom.headers` reads
with pydicom.

Most slices of a series are laid out alike: the same elements, each as long as in the slice before. A `Layout` says
where they lie; a file of the same size that holds the same tags and lengths at the same places has its values there.
"""

from __future__ import annotations

import struct
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from hilum.io.dicom.fields import BIG_ENDIAN, DEFLATED, IMPLICIT, TAGS, UNDEFINED, Fields, PixelPlace, text_of
from hilum.io.dicom.sniff import PEEK, PREAMBLE

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD = 32768
"""How much of a file is read at once; CT headers take 2 to 12 kB."""

_PIXELS = 0x7FE00010
_LEFT_ALONE = frozenset({0x00283000, 0x52009229})
"""Modality LUT Sequence, Shared Functional Groups Sequence: what is inside them decides."""

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


class Walked(NamedTuple):
    """What a plain header holds: wanted elements, transfer syntax, and where the pixels lie."""

    fields: Fields
    syntax: str
    place: PixelPlace


_Element = tuple[int, bytes, int, int]  # tag, value representation, start of the value, its length


class Layout(NamedTuple):
    """Where the elements of a header lie, and how to tell that another header is laid out alike.

    Parameters
    ----------
    structure : callable
        Gives all bytes that are no values of single elements: of tags, representations, lengths, whole sequences.
    expected : tuple of bytes
        What it gives.
    wanted : tuple of tuple of int and slice
        Tag and place of each element that decides.
    syntax : str
    place : PixelPlace
    """

    structure: Callable[[bytes], Any]
    expected: Any
    wanted: tuple[tuple[int, slice], ...]
    syntax: str
    place: PixelPlace


_MOST_LAYOUTS = 64
_layouts: dict[int, Layout] = {}
"""The newest by size of file: what they lead to does not depend on what else was read before, only how soon."""


def first_look(size: int) -> int:
    """How much of a file to read at first: all before its pixels where the last one of this size had them there."""
    known = _layouts.get(size)
    return HEAD if known is None else known.place.offset


def walk(head: bytes, size: int) -> Walked | None:
    """Read the elements that decide from the first bytes of a file.

    Parameters
    ----------
    head : bytes
        The first `HEAD` bytes, or the whole file if it is shorter; fewer may do, see `first_look`.
    size : int
        Bytes of the file.

    Returns
    -------
    Walked or None
        None for anything unusual.
    """
    if head[PREAMBLE:PEEK] != b"DICM":
        return None
    known = _layouts.get(size)
    if known is not None and known.structure(head) == known.expected:
        return Walked({tag: head[place] for tag, place in known.wanted}, known.syntax, known.place)
    try:
        spans = [slice(PREAMBLE, PEEK)]
        meta, start = _meta(head, spans)
        syntax = text_of(meta.get(_META_SYNTAX, b""))
        if not syntax.startswith(IMPLICIT) or syntax in {BIG_ENDIAN, DEFLATED}:
            return None  # private syntaxes may be anything
        found = _dataset(head, start, size, syntax, spans)
    except (struct.error, ValueError):  # the header goes on beyond `head`, or is malformed
        return None
    if found is None:
        return None
    wanted, place = found
    structure = itemgetter(*spans)
    if len(_layouts) >= _MOST_LAYOUTS:
        _layouts.clear()
    _layouts[size] = Layout(structure, structure(head), tuple(wanted.items()), syntax, place)
    return Walked({tag: head[part] for tag, part in wanted.items()}, syntax, place)


def _meta(head: bytes, spans: list[slice]) -> tuple[Fields, int]:
    fields: Fields = {}
    at = PEEK
    while head[at : at + 2] == b"\x02\x00":
        tag, _, start, length = _element(head, at, explicit=True)
        end = start + length
        if end > len(head):
            raise ValueError("the value is not at hand")
        fields[tag] = head[start:end]
        spans.append(slice(at, end if tag == _META_SYNTAX else start))
        at = end
    return fields, at


def _element(head: bytes, at: int, *, explicit: bool) -> _Element:
    """The element header at an offset.

    Raises
    ------
    ValueError
        If its value representation is unknown.
    struct.error
        If it lies beyond the bytes at hand.
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


def _dataset(
    head: bytes, at: int, size: int, syntax: str, spans: list[slice]
) -> tuple[dict[int, slice], PixelPlace] | None:
    """The places of the wanted elements and of the pixels; appends what is structure to `spans`."""
    wanted: dict[int, slice] = {}
    explicit = syntax != IMPLICIT
    last = 0x0007FFFF
    kind = b""
    while True:
        if explicit:
            group, number, kind, length = _explicit(head, at)
            if kind in _SHORT:  # most elements: a call of `_element` for each would double the time
                tag, start = group << 16 | number, at + 8
            else:
                tag, kind, start, length = _element(head, at, explicit=True)
        else:
            group, number, length = _implicit(head, at)
            tag, start = group << 16 | number, at + 8
        if tag <= last or tag in _LEFT_ALONE:
            return None
        spans.append(slice(at, start))
        if tag >= _PIXELS:
            if tag != _PIXELS or (explicit and kind not in {b"OB", b"OW"}):
                return None
            left = size - start
            return wanted, PixelPlace(start, length, left if length == UNDEFINED else min(length, left))
        last = tag
        if length == UNDEFINED:
            at = _after_sequence(head, start, kind, explicit=explicit)
            spans[-1] = slice(spans[-1].start, at)
            continue
        at = start + length
        if tag in _WANTED:
            if at > len(head):
                return None
            wanted[tag] = slice(start, at)


def _after_sequence(head: bytes, at: int, kind: bytes, *, explicit: bool) -> int:
    """Where a sequence of undefined length ends; nested ones are counted, not entered one by one."""
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
        _, kind, at, length = _element(head, at, explicit=explicit)
        if length != UNDEFINED:
            at += length
        elif explicit and kind != b"SQ":
            raise ValueError("only sequences end with a delimiter before the pixels")
        else:
            depth += 1
    return at
