"""The routes of the viewer: the page, the list of scans, volumes, surfaces, and reviews."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePath

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hilum.errors import HilumError, MissingInputError
from hilum.report.text import visible
from hilum.viewer import reviews, scan_view, sources, volume_stream
from hilum.viewer.bodies import error_answer, is_of_type, json_answer, nifti_answer, read_body
from hilum.viewer.edit_routes import EditEndpoints

PAGE = Path(__file__).parent / "page"

FILES = {  # of the page besides `index.html`
    "viewer.js": "text/javascript",
    "render.js": "text/javascript",
    "viewer.css": "text/css",
    "licenses.txt": "text/plain",
}

MAX_BODY = 4096
CACHED_SCANS = 2  # scans in memory: the current and the previous one


class _ReviewBody(msgspec.Struct, forbid_unknown_fields=True):
    verdict: str
    comment: str
    scan_sha256: str = ""


class ScanCache:
    """The scans opened last. Requests are handled one at a time, because they share the work of reading a scan."""

    def __init__(self, source: sources.Source) -> None:
        self._source = source
        self._scans: OrderedDict[int, scan_view.ScanView] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def open(self, number: int, *, current: bool = False) -> Iterator[scan_view.ScanView]:
        """Give a scan to one request at a time; read it again if it must be `current` and its output has changed."""
        with self._lock:
            cached = self._scans.get(number)
            if cached is not None and current and cached.sha256 != self._source.current_sha256(number):
                del self._scans[number]
            if number not in self._scans:
                while len(self._scans) >= CACHED_SCANS:
                    self._scans.popitem(last=False)
                self._scans[number] = self._source.open_scan(number)
            self._scans.move_to_end(number)
            yield self._scans[number]


class Endpoints:
    """One method for each route."""

    def __init__(self, source: sources.Source) -> None:
        self._source = source
        self._cache = ScanCache(source)
        self.edit = EditEndpoints(source, partial(self._cache.open, current=True), self._number)
        self._numbers = {str(number): number for number in range(len(source.items))}

    def _number(self, request: Request) -> int:
        """A scan's number, written exactly as the session lists it."""
        if (number := self._numbers.get(request.path_params["id"])) is None:
            raise MissingInputError("there is no such scan")
        return number

    def index(self, _: Request) -> Response:
        """The page."""
        return Response((PAGE / "index.html").read_bytes(), media_type="text/html")

    def page(self, request: Request) -> Response:
        """A file of the page."""
        if (name := request.path_params["name"]) not in FILES:
            return Response(status_code=404)
        return Response((PAGE / name).read_bytes(), media_type=FILES[name])

    def session(self, _: Request) -> Response:
        """The list of scans."""
        run = self._source.run
        return json_answer(self._source.session({} if run is None else reviews.read_reviews(run)))

    def facts(self, request: Request) -> Response:
        """Facts about one scan."""
        number = self._number(request)
        row = self._source.items[number].row
        with self._cache.open(number, current=True) as scan:
            facts = scan.page_facts(number) | self.edit.facts(number, scan)
        return json_answer(facts | {"id": str(number), "name": visible(row["name"]), "status": row["status"]})

    def part(self, request: Request) -> Response:
        """A volume, a surface or the thumbnail of a scan."""
        number = self._number(request)
        name, _, suffix = request.path_params["file"].partition(".")
        content, media_type = None, "model/stl"
        label = scan_view.LABEL.fullmatch(name)
        if suffix == "nii" and (name in {"ct", "beside", "lungs", "nodules", *scan_view.TISSUES} or label):
            with self._cache.open(number) as scan:
                volume = scan.sent(name)
            if volume is not None:
                first = volume_stream.first_slice(request.query_params.get("first", "0"), volume)
                return nifti_answer(volume, first=first)
        elif suffix == "stl" and (name in scan_view.SURFACES or label):
            with self._cache.open(number) as scan:
                content = scan.surface(name)
        elif (name, suffix) == ("thumbnail", "png"):
            content, media_type = self._source.thumbnail(number), "image/png"
        return Response(status_code=404) if content is None else Response(content, media_type=media_type)

    async def review(self, request: Request) -> Response:
        """Save a review."""
        number = self._number(request)
        if (run := self._source.run) is None:
            return error_answer("only the scans of a run have reviews", 404)
        if not is_of_type(request, "application/json"):
            return error_answer("a review must be application/json", 415)
        if (body := await read_body(request, limit=MAX_BODY)) is None:
            return error_answer(f"a review has at most {MAX_BODY} bytes", 413)
        try:
            review = msgspec.json.decode(body, type=_ReviewBody)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return error_answer("a review must be {verdict, comment, scan_sha256}", 400)
        name = self._source.items[number].name
        saved = await run_in_threadpool(reviews.save_review, run, name, **msgspec.structs.asdict(review))
        return json_answer(self._source.review(number, saved))


def make_app(source: sources.Source) -> Starlette:
    """Make the application for a source, without the request checks."""
    endpoints = Endpoints(source)
    routes = [
        Route("/", endpoints.index),
        Route("/page/{name}", endpoints.page),
        Route("/api/session", endpoints.session),
        Route("/api/scans/{id}", endpoints.facts),
        Route("/api/scans/{id}/review", endpoints.review, methods=["POST"]),
        *endpoints.edit.routes(),
        Route("/api/scans/{id}/{file}", endpoints.part),
    ]

    def refusal(_: Request, problem: Exception) -> Response:
        """Return any error as one line."""
        if not isinstance(problem, HilumError):
            # Without its message, which could contain a path.
            return error_answer(f"hilum failed: {getattr(problem, 'strerror', None) or type(problem).__name__}", 500)
        return error_answer(_without_paths(problem, source.run), 404 if isinstance(problem, MissingInputError) else 422)

    return Starlette(routes=routes, exception_handlers={HilumError: refusal, Exception: refusal})


def _without_paths(problem: HilumError, run: Path | None) -> str:
    """The text of an error without absolute paths, which can name patients; files of a run are relative to it."""
    where = problem.where
    if isinstance(where, PurePath) or (where is not None and PurePath(where).is_absolute()):
        inside = run is not None and PurePath(where).is_relative_to(run)
        below = PurePath(where).relative_to(run) if run is not None and inside else PurePath()
        where = below if below.parts else None
    return str(HilumError(problem.what, where=where, do=problem.do))
