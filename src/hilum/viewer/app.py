"""The answers of the viewer: the page, what there is, volumes, surfaces, and the one thing that is written."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from hilum.errors import HilumError, MissingInputError
from hilum.report.text import visible
from hilum.viewer.reviews import read_reviews, save_review
from hilum.viewer.shown import VOXELS_AT, nifti_chunks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from hilum.viewer.shown import Shown
    from hilum.viewer.sources import Source
    from hilum.volume import Volume

PAGE = Path(__file__).parent / "page"

FILES = {
    "viewer.js": "text/javascript",
    "render.js": "text/javascript",
    "viewer.css": "text/css",
    "licenses.txt": "text/plain",
}
"""What the page is made of, besides ``index.html``."""

VOLUMES = ("ct", "original", "lungs", "nodules")
SURFACES = ("right", "left", "lungs", "nodules")

LONGEST_BODY = 4096
KEPT = 2
"""Scans that are kept in memory: the one that is looked at, and the one before."""


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    verdict: str
    comment: str
    scan_sha256: str = ""


class Shelf:
    """The scans that were looked at last; each is read once, whoever asks at the same time."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._kept: OrderedDict[int, Shown] = OrderedDict()
        self._lock = threading.Lock()

    def part(self, number: int, kind: str, name: str) -> Any:
        """The facts (``told``), a ``volume`` or a ``surface`` of a scan; one after the other, for they share work."""
        with self._lock:
            if kind == "told" and number in self._kept and self._kept[number].sha256 != self._source.digest(number):
                del self._kept[number]  # it was made anew since it was read
            if number not in self._kept:
                while len(self._kept) >= KEPT:
                    self._kept.popitem(last=False)
                self._kept[number] = self._source.shown(number)
            self._kept.move_to_end(number)
            shown = self._kept[number]
            return shown.told(number) if kind == "told" else getattr(shown, kind)(name)


class Answers:
    """What is answered for a source, an address a method."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._shelf = Shelf(source)

    def _number(self, request: Request) -> int:
        """A scan's number as the session gave it out, and no other way of writing one."""
        text = request.path_params["id"]
        count = len(self._source.items)
        if not (text.isascii() and text.isdigit() and str(int(text[:9])) == text and int(text) < count):
            raise MissingInputError("there is no such scan")
        return int(text)

    def index(self, _: Request) -> Response:
        """The page."""
        return Response((PAGE / "index.html").read_bytes(), media_type="text/html")

    def page(self, request: Request) -> Response:
        """What the page is made of."""
        name = request.path_params["name"]
        if name not in FILES:
            return Response(status_code=404)
        return Response((PAGE / name).read_bytes(), media_type=FILES[name])

    def session(self, _: Request) -> Response:
        """What there is to see."""
        run = self._source.run
        return _json(self._source.session({} if run is None else read_reviews(run)))

    def facts(self, request: Request) -> Response:
        """What is known of a scan."""
        number = self._number(request)
        row = self._source.items[number].row
        told = self._shelf.part(number, "told", "")
        return _json(told | {"id": str(number), "name": visible(row["name"]), "status": row["status"]})

    def part(self, request: Request) -> Response:
        """A volume, a surface or the thumbnail of a scan."""
        number = self._number(request)
        name, _, suffix = request.path_params["file"].partition(".")
        answer: Response | None = None
        if suffix == "nii" and name in VOLUMES:
            volume = self._shelf.part(number, "volume", name)
            answer = None if volume is None else _nifti(volume)
        elif suffix == "stl" and name in SURFACES:
            answer = _bytes(self._shelf.part(number, "surface", name), "model/stl")
        elif (name, suffix) == ("thumbnail", "png"):
            answer = _bytes(self._source.thumbnail(number), "image/png")
        return Response(status_code=404) if answer is None else answer

    async def review(self, request: Request) -> Response:
        """Save a review: all that is ever written."""
        number = self._number(request)
        run = self._source.run
        if run is None:
            return _told("one scan has no reviews: they belong to a run", 404)
        if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
            return _told("a review is JSON", 415)
        body = await _bounded(request)
        if body is None:
            return _told(f"a review has at most {LONGEST_BODY} bytes", 413)
        try:
            asked = msgspec.json.decode(body, type=_Body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return _told("a review is {verdict, comment, scan_sha256}", 400)
        name = self._source.items[number].name
        saved = await run_in_threadpool(
            save_review, run, name, verdict=asked.verdict, comment=asked.comment, scan_sha256=asked.scan_sha256
        )
        return _json(self._source.review(number, saved))


def make_app(source: Source) -> Starlette:
    """The application that answers for a source, without its guard.

    Parameters
    ----------
    source : Source

    Returns
    -------
    Starlette
    """
    answers = Answers(source)
    routes = [
        Route("/", answers.index),
        Route("/page/{name}", answers.page),
        Route("/api/session", answers.session),
        Route("/api/scans/{id}", answers.facts),
        Route("/api/scans/{id}/review", answers.review, methods=["POST"]),
        Route("/api/scans/{id}/{file}", answers.part),
    ]

    def refusal(_: Request, problem: Exception) -> Response:
        """One line, whatever went wrong."""
        if not isinstance(problem, HilumError):
            return _told(_fault(problem), 500)
        return _told(_line(problem, source.run), 404 if isinstance(problem, MissingInputError) else 422)

    return Starlette(routes=routes, exception_handlers={HilumError: refusal, Exception: refusal})


def _bytes(found: bytes | None, media_type: str) -> Response | None:
    return None if found is None else Response(found, media_type=media_type)


def _line(problem: HilumError, run: Path | None) -> str:
    """A refusal without places of this machine, which can name patients; files of the run are named from there."""
    where = problem.where
    if isinstance(where, PurePath) or (where is not None and PurePath(where).is_absolute()):
        inside = run is not None and PurePath(where).is_relative_to(run)
        below = PurePath(where).relative_to(run) if run is not None and inside else PurePath()
        where = below if below.parts else None
    return str(HilumError(problem.what, where=where, do=problem.do))


def _fault(problem: Exception) -> str:
    """What hilum did not expect, without a text that might name a place."""
    return f"hilum failed: {getattr(problem, 'strerror', None) or type(problem).__name__}"


def _told(text: str, status: int) -> Response:
    return Response(msgspec.json.encode({"error": text}), status_code=status, media_type="application/json")


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


async def _bounded(request: Request) -> bytes | None:
    """The body, or None as soon as it is too long, whatever its headers say."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > LONGEST_BODY:
            return None
    return body


def _nifti(volume: Volume) -> Response:
    size = volume.array.size * (volume.array.itemsize if volume.array.dtype.str[1:] in {"i2", "f4"} else 1)

    async def pieces() -> AsyncIterator[bytes]:
        for piece in nifti_chunks(volume):
            yield piece

    headers = {"content-length": str(VOXELS_AT + size)}
    return StreamingResponse(pieces(), headers=headers, media_type="application/octet-stream")
