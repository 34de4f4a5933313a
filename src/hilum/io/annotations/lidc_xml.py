"""The XML of LIDC-IDRI's readings: what each reader marked, slice by slice, in pixels.

Dates, names and free text are not read. The parser is expat; a document type declaration, and so every entity, is
refused.

Source: the LIDC XML documentation of The Cancer Imaging Archive.
"""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from hilum.errors import AnnotationError
from hilum.io import files, names

_SIZE_LIMIT = 2**26
_DEPTH_LIMIT = 64
_TEXT_LIMIT = 256
_MAX_POINTS = 200_000

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_SCORES = {name.lower(): name for name in (
    "subtlety", "internalStructure", "calcification", "sphericity", "margin", "lobulation", "spiculation", "texture",
    "malignancy",
)}  # fmt: skip
_TRUTH = {"true": True, "1": True, "false": False, "0": False}
_LEAVES = {"seriesinstanceuid", "imagezposition", "imagesop_uid", "inclusion", "xcoord", "ycoord", *_SCORES}
_AGAIN = "download it again"


@dataclass
class Outline:
    """A polygon that a reader drew on one slice: its points are (x, y), counted from 0 at the first pixel's center."""

    line: int
    z_mm: float = math.nan  # imageZposition; nan where it is missing
    sop_uid: str = ""  # the slice's SOP Instance UID; empty where it is missing or invalid
    inclusion: bool = True  # False for a hole in the nodule
    points: list[tuple[float, float]] = field(default_factory=list)

    def array(self) -> NDArray[np.float64]:
        """The points as an array, shape (n, 2), (row, column), pixels."""
        return np.array(self.points, np.float64).reshape(-1, 2)[:, ::-1]


@dataclass
class MarkedNodule:
    """A nodule that one reader marked, with the scores by their names in the XML."""

    outlines: list[Outline] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)

    @property
    def outlined(self) -> bool:
        """Whether it is a nodule of 3 mm or more: those have outlines, smaller ones a single point."""
        return any(o.inclusion and len(o.points) > 1 for o in self.outlines)


@dataclass
class Session:
    """The marks of one reader in the scan: nodules, and one point each for findings that are not nodules."""

    nodules: list[MarkedNodule] = field(default_factory=list)
    others: list[Outline] = field(default_factory=list)


@dataclass
class Message:
    """The reading of one series, from one file, with one session for each reader."""

    series_uid: str = ""  # empty where the file does not name it
    sessions: list[Session] = field(default_factory=list)
    bad_scores: int = 0  # invalid scores, which were left out

    def content(self) -> tuple[object, ...]:
        """What the readers marked and rated, in one order: equal for files that say the same in another one."""
        sessions = [
            (
                sorted((sorted(n.scores.items()), sorted(map(_content_of, n.outlines))) for n in session.nodules),
                sorted(map(_content_of, session.others)),
            )
            for session in self.sessions
        ]
        return self.series_uid, sorted(sessions), self.bad_scores


def _content_of(outline: Outline) -> tuple[object, ...]:
    height = "" if math.isnan(outline.z_mm) else repr(outline.z_mm)
    return outline.sop_uid, height, outline.inclusion, outline.points


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
    with files.open_file(path) as handle:
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
    with files.open_file(path) as handle:
        while not reader.message.sessions and not reader.message.series_uid and handle.tell() < 2**22:
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
        self.text: str | None = None
        self.points = 0
        self.nodule: MarkedNodule | None = None
        self.outline: Outline | None = None
        self.point: dict[str, float] | None = None
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._add_text
        for unsafe in ("StartDoctypeDecl", "EntityDecl", "ExternalEntityRef", "SkippedEntity"):
            setattr(self.parser, f"{unsafe}Handler", self._refuse)

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
        self.text = "" if name in _LEAVES else None
        if name in {"idrireadmessage", "cxrreadingsession"}:
            what = "is the reading of an X-ray image, not of a CT"
            raise AnnotationError(what, where=self.path, do="give the LidcReadMessage of the CT", code="xray-message")
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

    def _add_text(self, text: str) -> None:
        if self.text is not None:
            self.text += text
            if len(self.text) > _TEXT_LIMIT:
                raise self._wrong(f"more than {_TEXT_LIMIT} characters where a number or a UID was expected", _AGAIN)

    def _end(self, _: str) -> None:
        name, text = self.open.pop(), self.text
        self.text = None
        if text is not None:
            self._leaf(name, text.strip())
        match name:
            case "edgemap" | "locus":
                if self.point is None or self.outline is None or len(self.point) != 2:
                    raise self._wrong("a point without xCoord and yCoord", _AGAIN)
                self.points += 1
                if self.points > _MAX_POINTS:
                    raise self._wrong(f"more than {_MAX_POINTS} points", _AGAIN)
                self.outline.points.append((self.point["xcoord"], self.point["ycoord"]))
                self.point = None
            case "roi" | "nonnodule" if self.outline is not None:
                (self.message.sessions[-1].others if self.nodule is None else self.nodule.outlines).append(self.outline)
                self.outline = None
            case "unblindedreadnodule" if self.nodule is not None:
                self.message.sessions[-1].nodules.append(self.nodule)
                self.nodule = None

    def _leaf(self, name: str, text: str) -> None:
        match name:
            case "seriesinstanceuid" if names.is_uid(text):
                if self.message.series_uid not in {"", text}:
                    raise self._wrong("names a second series", "give one reading a file")
                self.message.series_uid = text
            case "xcoord" | "ycoord":
                if self.point is None:
                    raise self._wrong("a coordinate outside a point", _AGAIN)
                self.point[name] = self._number(text, "xCoord" if name == "xcoord" else "yCoord")
            case "imagezposition" if self.outline is not None:
                self.outline.z_mm = self._number(text, "imageZposition")
            case "imagesop_uid" if self.outline is not None:
                self.outline.sop_uid = text if names.is_uid(text) else ""
            case "inclusion" if self.outline is not None:
                if text.lower() not in _TRUTH:
                    raise self._wrong("inclusion is neither TRUE nor FALSE")
                self.outline.inclusion = _TRUTH[text.lower()]
            case _ if name in _SCORES and self.nodule is not None and "characteristics" in self.open:
                self._score(self.nodule, _SCORES[name], text)

    def _score(self, nodule: MarkedNodule, name: str, text: str) -> None:
        value = float(text) if _NUMBER.fullmatch(text) else 0.0
        if value.is_integer() and 1 <= value <= 6:
            nodule.scores[name] = value
        elif text:  # an empty element: the reader gave no score
            self.message.bad_scores += 1

    def _number(self, text: str, name: str) -> float:
        if not _NUMBER.fullmatch(text):
            raise self._wrong(f"{name} is {text[:30]!r}, expected a number")
        number = float(text)
        if abs(number) > 1e5:  # pixels or millimetres
            raise self._wrong(f"{name} is {number:g}, which is in no image")
        return number

    def _check_place(self, what: str, *, ok: bool) -> None:
        if not ok:
            raise self._wrong(f"{what} out of place", _AGAIN)
