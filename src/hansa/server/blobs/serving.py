"""Sending a blob: chunks of 1 MiB, ETag, If-None-Match, Range, If-Range."""

import os
import re
from collections.abc import AsyncIterator
from io import FileIO
from pathlib import Path

from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from hansa.server.blobs import store
from hansa.server.lifecycle.bridge import work

CHUNK = 2**20
_RANGE = re.compile(r"bytes=(\d{0,400})-(\d{0,400})", re.ASCII)


def respond(request: HttpRequest, *, digest: str, size: int, media_type: str, filename: str) -> HttpResponseBase:
    """Answer a GET or HEAD for a blob. The ETag is the digest: the same bytes for ever."""
    etag = f'"{digest}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, immutable, max-age=31536000",
        "Content-Disposition": f'attachment; filename="{filename}"',
    }
    if _matches(request.headers.get("If-None-Match", ""), etag):
        return HttpResponse(status=304, headers=headers)
    start, stop, status = _range(request, etag, size)
    if status == 416:
        detail = f"The range {request.headers['Range']!r} lies outside the {size:,} bytes of the blob."
        problem = {"detail": detail, "code": "range_not_satisfiable"}
        return JsonResponse(problem, status=416, headers={"Content-Range": f"bytes */{size}", "ETag": etag})
    if status == 206:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    headers["Content-Length"] = str(stop - start)
    return StreamingHttpResponse(
        _Chunks(store.path_of(digest), start, stop), status=status, content_type=media_type, headers=headers
    )


def _matches(header: str, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return "*" in tags or etag in tags


def _range(request: HttpRequest, etag: str, size: int) -> tuple[int, int, int]:
    """(first byte, byte after the last, status). Anything but one satisfiable range is the whole, or 416."""
    match = _RANGE.fullmatch(request.headers.get("Range", "").strip())
    if_range = request.headers.get("If-Range")
    if match is None or match.group() == "bytes=-" or (if_range is not None and if_range.strip() != etag):
        return 0, size, 200
    first, last = match.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
    if last and first and int(last) < int(first):
        return 0, size, 200
    return (start, stop, 206) if start < stop else (0, 0, 416)


class _Chunks:
    """The bytes of a blob, read as they are sent. Django closes it with its response, whether or not all were sent."""

    def __init__(self, path: Path, start: int, stop: int) -> None:
        self._path, self._start, self._stop = path, start, stop
        self._file: FileIO | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._file = await work(FileIO, self._path)
        for offset in range(self._start, self._stop, CHUNK):
            yield await work(os.pread, self._file.fileno(), min(CHUNK, self._stop - offset), offset)

    def close(self) -> None:
        """Not left to the garbage collector: clients that go away would have the server run out of descriptors."""
        if self._file is not None:
            self._file.close()
