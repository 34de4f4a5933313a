"""Bodies of requests and answers: JSON, volumes as NIfTI, and what a page sends, up to a limit."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from hilum.viewer import volume_stream
from hilum.volume import AnyVolume


def json_answer(value: object, status: int = 200) -> Response:
    """A JSON document."""
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json")


def error_answer(text: str, status: int) -> Response:
    """An error, in one line for people."""
    return json_answer({"error": text}, status)


def nifti_answer(volume: AnyVolume, *, first: int = 0) -> Response:
    """A volume, as `hilum.viewer.volume_stream.nifti_chunks` writes it."""
    size = volume.array.size * (volume.array.itemsize if volume.array.dtype.str[1:] in {"i2", "f4"} else 1)
    headers = {"content-length": str(volume_stream.HEADER_BYTES + size)}
    chunks = volume_stream.nifti_chunks(volume, first=first)
    return StreamingResponse(chunks, headers=headers, media_type="application/octet-stream")


def is_of_type(request: Request, media_type: str) -> bool:
    """Whether the body of a request says that it is of this type."""
    return request.headers.get("content-type", "").split(";")[0].strip() == media_type


async def read_body(request: Request, *, limit: int) -> bytes | None:
    """The body, or None as soon as it has more bytes than the limit; Content-Length is not trusted."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            return None
    return bytes(body)
