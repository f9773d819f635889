"""Files as answers: whole or by range, piece by piece, with what HTTP knows of not sending twice (RFC 9110, 13 and 14).

Django's FileResponse reads the whole file into memory under ASGI and knows no ranges.
"""

import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Protocol

from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header, http_date, parse_etags, parse_http_date_safe

from hansa.server.lifecycle.bridge import work

CHUNK = 2**20
"""Bytes of a piece. Measured: twice as fast as granian's own way of sending files, and nothing gained by more."""

# So many digits are plenty, and Python takes no more than 4,300 for a number.
_RANGE = re.compile(r"bytes=(\d{0,400})-(\d{0,400})", re.ASCII | re.IGNORECASE)


class Readable(Protocol):
    """What is asked of an open file."""

    def seek(self, offset: int, /) -> int:
        """Go to a byte."""

    def read(self, size: int, /) -> bytes | None:
        """Read from there; fewer bytes than asked for may come, none at the end."""

    def close(self) -> None:
        """Let go of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RangedFile:
    """A file that is on offer; `respond` answers one request for it with 200, 206, 304 or 416."""

    source: Path | bytes | Callable[[], Readable]
    """Where it lies, or how it is opened: called, read and closed on threads, not before the first byte is sent. Or
    what is in it, where it is short and was read."""
    size: int
    etag: str
    """With its quotes. A weak one (`W/"…"`) saves sending the same again, but never continues a download."""
    media_type: str
    filename: str | None = None
    """What a browser saves it as; None: it may show it."""
    last_modified: datetime | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    accel_uri: str | None = None
    """Where nginx in front finds the file (an `internal` location): then it sends the bytes, ranges included.

    nginx would answer with an ETag of its own; in that location: `etag off; add_header ETag $upstream_http_etag;`.
    """

    on_sent: Callable[[], object] | None = None
    """Called when a GET was given the last byte of it, or told that it has all of them; for nginx's, at once."""

    def respond(self, request: HttpRequest) -> HttpResponseBase:
        """Answer a GET or a HEAD. What is no range, several, or none for this ETag is answered with the whole."""
        validators = {"ETag": self.etag}
        if self.last_modified is not None:
            validators["Last-Modified"] = http_date(self.last_modified.timestamp())
        headers = {**self.headers, **validators, "Accept-Ranges": "bytes"}
        if self._is_known(request):
            known = HttpResponse(status=304, headers=headers)
            del known["Content-Type"]
            self._sent(request)
            return known
        if self.filename and (attached := content_disposition_header(as_attachment=True, filename=self.filename)):
            headers["Content-Disposition"] = attached
        if self.accel_uri is not None:
            headers["X-Accel-Redirect"] = self.accel_uri
            self._sent(request)
            return HttpResponse(content_type=self.media_type, headers=headers)
        wanted = self._range(request)
        if wanted is None:
            return self._part(request, range(self.size), 200, headers)
        if not wanted:
            asked = request.headers["Range"]
            detail = f"The range {asked!r} lies outside the file's {self.size:,} bytes. Ask for bytes within them."
            problem = {"detail": detail, "code": "range_not_satisfiable"}
            return JsonResponse(problem, status=416, headers={**validators, "Content-Range": f"bytes */{self.size}"})
        headers["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{self.size}"
        return self._part(request, wanted, 206, headers)

    def _part(self, request: HttpRequest, part: range, status: int, headers: dict[str, str]) -> HttpResponseBase:
        sent = part if request.method != "HEAD" else range(0)
        headers["Content-Length"] = str(len(part))
        if isinstance(self.source, bytes):
            content = self.source[sent.start : sent.stop]
            if sent.stop == self.size:
                self._sent(request)
            return HttpResponse(content, status=status, content_type=self.media_type, headers=headers)
        pieces = _Pieces(self.source, sent, partial(self._sent, request) if sent.stop == self.size else None)
        return StreamingHttpResponse(pieces, status=status, content_type=self.media_type, headers=headers)

    def _sent(self, request: HttpRequest) -> None:
        if self.on_sent is not None and request.method == "GET":
            self.on_sent()

    def _is_known(self, request: HttpRequest) -> bool:
        """Whether the client has what it would get. A tag is asked before a date, which is coarse."""
        if (tags := request.headers.get("If-None-Match")) is not None:
            known = [_opaque(tag) for tag in parse_etags(tags)]
            return "*" in known or _opaque(self.etag) in known
        since = parse_http_date_safe(request.headers.get("If-Modified-Since", ""))
        return since is not None and self.last_modified is not None and int(self.last_modified.timestamp()) <= since

    def _range(self, request: HttpRequest) -> range | None:
        """The bytes asked for, perhaps none of those there are; None: the whole."""
        match = _RANGE.fullmatch(request.headers.get("Range", "").strip())
        if match is None or request.method != "GET" or not self._is_continued(request):
            return None
        first, last = match.groups()
        if not first and not last:
            return None
        if not first:
            return range(max(0, self.size - int(last)), self.size)
        if last and int(last) < int(first):
            return None
        return range(int(first), min(self.size, int(last) + 1) if last else self.size)

    def _is_continued(self, request: HttpRequest) -> bool:
        """Whether If-Range, if there is one, means this very file. Only what is exact can continue a download."""
        condition = request.headers.get("If-Range", "").strip()
        if not condition:
            return True
        if condition.startswith(('"', "W/")):
            return condition == self.etag and not self.etag.startswith("W/")
        return self.last_modified is not None and condition == http_date(self.last_modified.timestamp())


def _opaque(etag: str) -> str:
    return etag.removeprefix("W/")


class _Pieces:
    """The bytes, read as they are sent. Django closes it with its response, whether or not all were sent."""

    def __init__(
        self, source: Path | Callable[[], Readable], part: range, on_sent: Callable[[], object] | None
    ) -> None:
        self._open = partial(FileIO, source) if isinstance(source, Path) else source
        self._part = part
        self._on_sent = on_sent
        self._file: Readable | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        start, stop = self._part.start, self._part.stop
        while start < stop:
            piece = await work(self._read, start, min(CHUNK, stop - start))
            if not piece:
                # A short answer must not look like a whole one: raising breaks the connection.
                raise EOFError(f"The file ends at byte {start:,}; {stop:,} bytes were announced.")
            yield piece
            start += len(piece)
        if self._on_sent is not None:
            self._on_sent()

    def _read(self, offset: int, size: int) -> bytes | None:
        if self._file is None:
            # On the thread, so that a client that goes away meanwhile leaves no file open.
            self._file = self._open()
        self._file.seek(offset)
        return self._file.read(size)

    def close(self) -> None:
        """Not left to the garbage collector: clients that go away would have the server run out of descriptors."""
        if self._file is not None:
            self._file.close()
