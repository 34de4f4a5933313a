"""The XML in which LIDC-IDRI's readers answered: what each marked, slice by slice, in pixels.

Only what is needed is taken: no date, no name, no free text. Expat reads the file, and nothing of XML that refers to
anything else is allowed: a document type declaration, and with it every entity, is refused before it is looked at.

Source: the LIDC XML documentation of The Cancer Imaging Archive.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.parsers import expat

from hilum.errors import AnnotationError
from hilum.io.annotations.lidc_records import Marked, Message, Outline, Session
from hilum.io.files import open_file
from hilum.io.uids import is_uid

if TYPE_CHECKING:
    from pathlib import Path


_SIZE_LIMIT = 2**26
_HEAD_LIMIT = 2**22
_DEPTH_LIMIT = 64
_TEXT_LIMIT = 256
_MOST_POINTS = 200_000
_LARGEST = 1e5
"""Pixels and millimetres beyond this are in no image and no patient."""

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_SCORES = {
    name.lower(): name
    for name in (
        "subtlety", "internalStructure", "calcification", "sphericity", "margin", "lobulation", "spiculation",
        "texture", "malignancy",
    )
}  # fmt: skip
_TRUTH = {"true": True, "1": True, "false": False, "0": False}
_LEAVES = frozenset({
    "seriesinstanceuid", "imagezposition", "imagesop_uid", "inclusion", "xcoord", "ycoord", *_SCORES,
})  # fmt: skip
_LARGEST_SCORE = 6
_AGAIN = "download it again"


def parse_message(path: Path) -> Message:
    """Read a LidcReadMessage, in any encoding that XML declares and under any prefix of its namespace.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Message

    Raises
    ------
    AnnotationError
        If the file is empty, too large, cut off or not XML; declares a document type; is the reading of an X-ray image
        or no reading at all; holds a number that is none, or marks outside their place. The message names the line.
    MissingInputError, InputError
        If the file does not exist or cannot be opened.
    """
    with open_file(path) as handle:
        raw = handle.read(_SIZE_LIMIT + 1)
    if len(raw) > _SIZE_LIMIT:
        raise AnnotationError(f"is larger than {_SIZE_LIMIT} bytes", where=path, do="give one reading of LIDC-IDRI")
    if not raw.strip():
        raise AnnotationError("is empty, expected a reading of LIDC-IDRI", where=path, do=_AGAIN)
    reader = _Reader(path)
    reader.feed(raw, final=True)
    if not reader.is_lidc:
        raise AnnotationError("holds no LidcReadMessage", where=path, do="give a reading of LIDC-IDRI")
    if not reader.message.sessions:
        raise AnnotationError("holds no readingSession, so nobody has read the scan", where=path, do=_AGAIN)
    return reader.message


def series_of(path: Path) -> str:
    """The series that a file reads, from its beginning alone.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str
        Its Series Instance UID; empty where the first reading begins before one is named, or 4 MB go by.

    Raises
    ------
    AnnotationError
        As `parse_message`, as far as the file was read.
    MissingInputError, InputError
        If the file does not exist or cannot be opened.
    """
    reader = _Reader(path)
    with open_file(path) as handle:
        while not reader.message.sessions and not reader.message.series_uid and handle.tell() < _HEAD_LIMIT:
            part = handle.read(2**14)
            reader.feed(part, final=not part)
            if not part:
                break
    return reader.message.series_uid


class _Reader:
    """Where the parser stands in a file: the elements that are open, and what was taken so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.message = Message()
        self.is_lidc = False
        self.open: list[str] = []
        self.text: list[str] | None = None
        self.length = 0
        self.points = 0
        self.nodule: Marked | None = None
        self.outline: Outline | None = None
        self.place: dict[str, float] | None = None
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._take
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.EntityDeclHandler = self._refuse
        self.parser.ExternalEntityRefHandler = self._refuse
        self.parser.SkippedEntityHandler = self._refuse

    def feed(self, raw: bytes, *, final: bool) -> None:
        try:
            self.parser.Parse(raw, final)
        except AnnotationError:  # raised by a handler; it is a ValueError, too
            raise
        except expat.ExpatError as error:
            what = f"line {error.lineno}: not well-formed XML: {expat.ErrorString(error.code)}"
            raise AnnotationError(what, where=self.path, do=_AGAIN) from None
        except (LookupError, ValueError) as error:  # an encoding that Python does not know, or not byte by byte
            raise AnnotationError("is in an unknown encoding", where=self.path, do="save it as UTF-8") from error

    def _wrong(self, what: str, do: str = "correct the line") -> AnnotationError:
        return AnnotationError(f"line {self.parser.CurrentLineNumber}: {what}", where=self.path, do=do)

    def _refuse(self, *_: object) -> int:
        what = "declares a document type or an entity, which no reading needs and which is not read"
        raise AnnotationError(what, where=self.path, do=_AGAIN, code="unsafe-xml")

    def _start(self, written: str, _: object) -> None:
        name = written.rpartition(":")[2].lower()
        if len(self.open) >= _DEPTH_LIMIT:
            raise self._wrong(f"elements {_DEPTH_LIMIT} deep", _AGAIN)
        self.open.append(name)
        self.text = None
        if name in {"idrireadmessage", "cxrreadingsession"}:
            what = "is the reading of an X-ray image, not of a CT"
            raise AnnotationError(what, where=self.path, do="give the LidcReadMessage of the CT", code="xray-message")
        if name in _LEAVES:
            self.text, self.length = [], 0
        opening = _OPENING.get(name)
        if opening is not None:
            opening(self)

    def _take(self, text: str) -> None:
        if self.text is not None:
            self.length += len(text)
            if self.length > _TEXT_LIMIT:
                raise self._wrong(f"more than {_TEXT_LIMIT} characters where a number or a UID was expected", _AGAIN)
            self.text.append(text)

    def _end(self, _: str) -> None:
        name = self.open.pop()
        text = None if self.text is None or name not in _LEAVES else "".join(self.text).strip()
        self.text = None
        if text is not None:
            self._leaf(name, text)
        closing = _CLOSING.get(name)
        if closing is not None:
            closing(self)

    def _leaf(self, name: str, text: str) -> None:
        if name == "seriesinstanceuid":
            if is_uid(text) and self.message.series_uid not in {"", text}:
                raise self._wrong("names a second series", "give one reading a file")
            self.message.series_uid = text if is_uid(text) else self.message.series_uid
        elif name in _SCORES:
            self._score(_SCORES[name], text)
        elif name in {"xcoord", "ycoord"}:
            if self.place is None:
                raise self._wrong("a coordinate outside a point", _AGAIN)
            self.place[name] = self._number(text, "xCoord" if name == "xcoord" else "yCoord")
        elif self.outline is not None:
            self._of_outline(self.outline, name, text)

    def _of_outline(self, outline: Outline, name: str, text: str) -> None:
        if name == "imagezposition":
            outline.z_mm = self._number(text, "imageZposition")
        elif name == "imagesop_uid":
            outline.sop_uid = text if is_uid(text) else ""
        elif text.lower() in _TRUTH:
            outline.inclusion = _TRUTH[text.lower()]
        else:
            raise self._wrong("inclusion is neither TRUE nor FALSE")

    def _score(self, name: str, text: str) -> None:
        if self.nodule is None or "characteristics" not in self.open:
            return
        value = float(text) if _NUMBER.fullmatch(text) else 0.0
        if value.is_integer() and 1 <= value <= _LARGEST_SCORE:
            self.nodule.scores[name] = value
        elif text:  # an empty element says that the reader gave none
            self.message.bad_scores += 1

    def _number(self, text: str, name: str) -> float:
        if not _NUMBER.fullmatch(text):
            raise self._wrong(f"{name} is {text[:30]!r}, expected a number")
        number = float(text)
        if abs(number) > _LARGEST:
            raise self._wrong(f"{name} is {number:g}, which is in no image")
        return number

    def open_message(self) -> None:
        self.is_lidc = True

    def open_session(self) -> None:
        if not self.is_lidc or self.nodule is not None or "readingsession" in self.open[:-1]:
            raise self._wrong("a readingSession out of place", _AGAIN)
        self.message.sessions.append(Session())

    def open_nodule(self) -> None:
        if "readingsession" not in self.open or self.nodule is not None or self.outline is not None:
            raise self._wrong("a nodule out of place", _AGAIN)
        self.nodule = Marked()

    def open_outline(self) -> None:
        inside = self.nodule is None if self.open[-1] == "nonnodule" else self.nodule is not None
        if "readingsession" not in self.open or not inside or self.outline is not None:
            raise self._wrong("an outline out of place", _AGAIN)
        self.outline = Outline(self.parser.CurrentLineNumber)

    def open_point(self) -> None:
        if self.outline is None or self.place is not None:
            raise self._wrong("a point out of place", _AGAIN)
        self.place = {}

    def close_point(self) -> None:
        if self.place is None or self.outline is None or len(self.place) != 2:
            raise self._wrong("a point without xCoord and yCoord", _AGAIN)
        self.points += 1
        if self.points > _MOST_POINTS:
            raise self._wrong(f"more than {_MOST_POINTS} points", _AGAIN)
        self.outline.points.append((self.place["xcoord"], self.place["ycoord"]))
        self.place = None

    def close_outline(self) -> None:
        if self.outline is not None and self.nodule is not None:
            self.nodule.outlines.append(self.outline)
        elif self.outline is not None:
            self.message.sessions[-1].others.append(self.outline)
        self.outline = None

    def close_nodule(self) -> None:
        if self.nodule is not None:
            self.message.sessions[-1].nodules.append(self.nodule)
        self.nodule = None


_OPENING = {
    "lidcreadmessage": _Reader.open_message,
    "readingsession": _Reader.open_session,
    "unblindedreadnodule": _Reader.open_nodule,
    "roi": _Reader.open_outline,
    "nonnodule": _Reader.open_outline,
    "edgemap": _Reader.open_point,
    "locus": _Reader.open_point,
}
_CLOSING = {
    "unblindedreadnodule": _Reader.close_nodule,
    "roi": _Reader.close_outline,
    "nonnodule": _Reader.close_outline,
    "edgemap": _Reader.close_point,
    "locus": _Reader.close_point,
}
