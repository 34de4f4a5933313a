"""The XML of LIDC-IDRI's readings: what each reader marked, slice by slice, in pixels.

Dates, names and free text are not read. The parser is expat; a document type declaration, and so every entity, is
refused.

Source: the LIDC XML documentation of The Cancer Imaging Archive.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.parsers import expat

from hilum.errors import AnnotationError
from hilum.io.annotations.lidc_records import MarkedNodule, Message, Outline, Session
from hilum.io.files import open_file
from hilum.io.uids import is_uid

if TYPE_CHECKING:
    from pathlib import Path


_SIZE_LIMIT = 2**26
_HEAD_LIMIT = 2**22
_DEPTH_LIMIT = 64
_TEXT_LIMIT = 256
_MAX_POINTS = 200_000
_MAX_COORDINATE = 1e5
"""The largest coordinate, in pixels or millimetres, that an image or a patient can have."""

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_SCORES = {
    name.lower(): name
    for name in (
        "subtlety", "internalStructure", "calcification", "sphericity", "margin", "lobulation", "spiculation",
        "texture", "malignancy",
    )
}  # fmt: skip
_TRUTH = {"true": True, "1": True, "false": False, "0": False}
_LEAVES = {"seriesinstanceuid", "imagezposition", "imagesop_uid", "inclusion", "xcoord", "ycoord", *_SCORES}
_MAX_SCORE = 6
_AGAIN = "download it again"


def parse_message(path: Path) -> Message:
    """Read a LidcReadMessage, in any encoding that XML declares and under any prefix of its namespace.

    Raises
    ------
    AnnotationError
        If the file is empty, too large, truncated or not XML; declares a document type; is the reading of an X-ray
        image or not a reading; contains an invalid number, or elements out of place. The message names the line.
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
    """Find the series of a reading in the beginning of its file.

    Returns
    -------
    str
        Its Series Instance UID; empty where neither the text before the first reading nor the first 4 MB have it.

    Raises
    ------
    AnnotationError
        As `parse_message`, for the part that was read.
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
    """The state of the parser: the open elements, and what was read so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.message = Message()
        self.is_lidc = False
        self.open: list[str] = []
        self.text: list[str] | None = None
        self.length = 0
        self.points = 0
        self.nodule: MarkedNodule | None = None
        self.outline: Outline | None = None
        self.point: dict[str, float] | None = None
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._add_text
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.EntityDeclHandler = self._refuse
        self.parser.ExternalEntityRefHandler = self._refuse
        self.parser.SkippedEntityHandler = self._refuse

    def feed(self, raw: bytes, *, final: bool) -> None:
        try:
            self.parser.Parse(raw, final)
        except AnnotationError:  # raised by a handler, and also a ValueError
            raise
        except expat.ExpatError as error:
            what = f"line {error.lineno}: not well-formed XML: {expat.ErrorString(error.code)}"
            raise AnnotationError(what, where=self.path, do=_AGAIN) from None
        except (LookupError, ValueError) as error:  # an encoding that Python does not know, or not byte by byte
            raise AnnotationError("is in an unknown encoding", where=self.path, do="save it as UTF-8") from error

    def _wrong(self, what: str, do: str = "correct the line") -> AnnotationError:
        return AnnotationError(f"line {self.parser.CurrentLineNumber}: {what}", where=self.path, do=do)

    def _refuse(self, *_: object) -> int:
        what = "declares a document type or an entity, which a reading does not need and hilum does not read"
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
        self._open(name)

    def _add_text(self, text: str) -> None:
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
        self._close(name)

    def _leaf(self, name: str, text: str) -> None:
        if name == "seriesinstanceuid":
            if is_uid(text) and self.message.series_uid not in {"", text}:
                raise self._wrong("names a second series", "give one reading a file")
            self.message.series_uid = text if is_uid(text) else self.message.series_uid
        elif name in _SCORES:
            self._score(_SCORES[name], text)
        elif name in {"xcoord", "ycoord"}:
            if self.point is None:
                raise self._wrong("a coordinate outside a point", _AGAIN)
            self.point[name] = self._number(text, "xCoord" if name == "xcoord" else "yCoord")
        elif self.outline is not None:
            self._outline_leaf(self.outline, name, text)

    def _outline_leaf(self, outline: Outline, name: str, text: str) -> None:
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
        if value.is_integer() and 1 <= value <= _MAX_SCORE:
            self.nodule.scores[name] = value
        elif text:  # an empty element: the reader gave no score
            self.message.bad_scores += 1

    def _number(self, text: str, name: str) -> float:
        if not _NUMBER.fullmatch(text):
            raise self._wrong(f"{name} is {text[:30]!r}, expected a number")
        number = float(text)
        if abs(number) > _MAX_COORDINATE:
            raise self._wrong(f"{name} is {number:g}, which is in no image")
        return number

    def _open(self, name: str) -> None:
        in_session = "readingsession" in self.open
        match name:
            case "lidcreadmessage":
                self.is_lidc = True
            case "readingsession":
                first = "readingsession" not in self.open[:-1]
                self._check_place("a readingSession", ok=self.is_lidc and self.nodule is None and first)
                self.message.sessions.append(Session())
            case "unblindedreadnodule":
                self._check_place("a nodule", ok=in_session and self.nodule is None and self.outline is None)
                self.nodule = MarkedNodule()
            case "roi" | "nonnodule":
                nested = (self.nodule is None) == (name == "nonnodule")
                self._check_place("an outline", ok=in_session and nested and self.outline is None)
                self.outline = Outline(self.parser.CurrentLineNumber)
            case "edgemap" | "locus":
                self._check_place("a point", ok=self.outline is not None and self.point is None)
                self.point = {}

    def _check_place(self, what: str, *, ok: bool) -> None:
        if not ok:
            raise self._wrong(f"{what} out of place", _AGAIN)

    def _close(self, name: str) -> None:
        match name:
            case "edgemap" | "locus":
                self._close_point()
            case "roi" | "nonnodule" if self.outline is not None:
                owner = self.message.sessions[-1].others if self.nodule is None else self.nodule.outlines
                owner.append(self.outline)
                self.outline = None
            case "unblindedreadnodule" if self.nodule is not None:
                self.message.sessions[-1].nodules.append(self.nodule)
                self.nodule = None

    def _close_point(self) -> None:
        if self.point is None or self.outline is None or len(self.point) != 2:
            raise self._wrong("a point without xCoord and yCoord", _AGAIN)
        self.points += 1
        if self.points > _MAX_POINTS:
            raise self._wrong(f"more than {_MAX_POINTS} points", _AGAIN)
        self.outline.points.append((self.point["xcoord"], self.point["ycoord"]))
        self.point = None
