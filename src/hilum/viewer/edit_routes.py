"""The routes by which the page corrects masks: what can be corrected, the last correction, and saving one."""

import hashlib
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hilum.errors import InputError, MissingInputError, OutputError
from hilum.outputs import corrections as table
from hilum.report.text import all_visible
from hilum.viewer import corrections
from hilum.viewer.bodies import error_answer, is_of_type, json_answer, nifti_answer, read_body
from hilum.viewer.scan_view import ScanView
from hilum.viewer.sources import Source
from hilum.volume import Mask

_SHA256 = re.compile(r"[0-9a-f]{64}")

RELOAD = "reload the page; your changes are kept until you discard them"


@dataclass(frozen=True)
class EditEndpoints:
    """One method for each route.

    Parameters
    ----------
    source : Source
        What is shown.
    open_scan : callable
        Opens a scan by its number, as it is now.
    number_of : callable
        The number of the scan that a request names.
    """

    source: Source
    open_scan: Callable[[int], AbstractContextManager[ScanView]]
    number_of: Callable[[Request], int]

    def routes(self) -> list[Route]:
        """The routes; the methods of one path are two routes."""
        path = "/api/scans/{id}/corrections/{mask}"
        return [Route(path, self.corrected), Route(path, self.save, methods=["POST"])]

    def facts(self, number: int, scan: ScanView) -> dict[str, Any]:
        """What the page needs to correct the masks of a scan."""
        run, name = self.source.run, self.source.items[number].name
        refused = corrections.why_not(run)
        if run is None or scan.record is None:
            return {"editing": {"refused": refused, "who": "", "key": "", "masks": []}}
        try:
            saved = table.newest(table.read_corrections(run))
        except InputError as problem:
            saved, refused = {}, str(problem.what)
        masks = []
        for one in scan.editable:
            last = saved.get((name, one.mask))
            told = last and {"who": last.who, "when": last.when, "current": last.original_sha256 == one.sha256}
            labels = [{"value": value, "name": label} for value, label in one.labels.items()]
            masks.append({"name": one.name, "title": one.title, "sha256": one.sha256, "labels": labels, "saved": told})
        key = hashlib.sha256(f"{run.resolve()} {name}".encode("utf-8", "surrogateescape")).hexdigest()[:32]
        return {"editing": all_visible({"refused": refused, "who": self.source.who, "key": key, "masks": masks})}

    def corrected(self, request: Request) -> Response:
        """The last correction of a mask, as NIfTI."""
        number = self.number_of(request)
        with self.open_scan(number) as scan:
            record, one = scan.record, scan.editable_mask(request.path_params["mask"])
        run = self.source.run
        if run is None or record is None:
            raise MissingInputError("only the masks of a run are corrected")
        last = table.newest(table.read_corrections(run)).get((self.source.items[number].name, one.mask))
        if last is None:
            raise MissingInputError("this mask has no correction")
        return nifti_answer(table.read_corrected(run, last, record))

    async def save(self, request: Request) -> Response:
        """Save a corrected mask."""
        if refused := corrections.why_not(self.source.run):
            return error_answer(refused, 409)
        if not is_of_type(request, "application/octet-stream"):
            return error_answer("a corrected mask must be application/octet-stream", 415)
        if (body := await read_body(request, limit=corrections.MAX_BODY)) is None:
            what = f"a corrected mask has at most {corrections.MAX_BODY >> 20} MiB; it is not saved"
            return error_answer(what, 413)
        seen = [request.query_params.get(name, "") for name in ("original", "scan")]
        if not all(map(_SHA256.fullmatch, seen)):
            return error_answer("original and scan must be SHA-256", 400)
        number, mask = self.number_of(request), request.path_params["mask"]
        return json_answer(await run_in_threadpool(self._save, number, mask, body, seen))

    def _save(self, number: int, name: str, body: bytes, seen: list[str]) -> dict[str, Any]:
        item, run = self.source.items[number], self.source.run
        with self.open_scan(number) as scan:
            record, sha256, one, geometry = scan.record, scan.sha256, scan.editable_mask(name), scan.scan.ct.geometry
        if run is None or item.folder is None or record is None:
            raise MissingInputError("only the masks of a run are corrected")
        if seen != [one.sha256, sha256]:
            raise OutputError(
                "the run has replaced this scan since the page read it", do=RELOAD, code="original-changed"
            )
        corrected = Mask(corrections.decode_labels(body, geometry.shape, one.labels), geometry)
        saved = corrections.save_correction(run, item.folder, record, corrected, mask=one.mask, who=self.source.who)
        told: dict[str, Any] = all_visible({"who": saved.who, "when": saved.when, "current": True, "file": saved.file})
        return told
