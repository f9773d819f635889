"""A request whose body has not been read yet: streamed, read whole, or read for synchronous code that asks for it."""

import asyncio
import io
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import IO, Any, BinaryIO, cast

from asgiref.sync import async_to_sync
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.handlers.asgi import ASGIRequest
from django.http import QueryDict, RawPostDataException
from django.urls import ResolverMatch
from django.utils.functional import cached_property
from rest_framework import status
from rest_framework.exceptions import APIException

from hansa.server.lifecycle.bridge import work

Message = Mapping[str, Any]  # Any: ASGI messages are open dictionaries
Receive = Callable[[], Awaitable[Message]]

IDLE_SECONDS = 60.0
"""A client that sends nothing of its body for so long is taken for gone."""


class BodyTooLargeError(APIException, RequestDataTooBig):
    """The body is longer than the view allows. In a middleware, Django answers 400 to it, as to its own limit."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"

    def __init__(self, limit: int, announced: int | None = None) -> None:
        seen = f"{announced:,} bytes were announced" if announced is not None else "more bytes came"
        super().__init__(f"The body is too large: {seen}, at most {limit:,} are allowed here.")


class DisconnectedError(asyncio.CancelledError):
    """The client went away. As a cancellation it passes every `except Exception`: nobody is left to be answered."""


class BodyUnreadError(RuntimeError):
    """Synchronous code on the event loop asked for a body that is still on the wire."""

    def __init__(self) -> None:
        super().__init__(
            "The body of this request has not been read yet. On the event loop, await request.adata() in a view or "
            "request.load() in a middleware; a view with `streams_body` reads its body itself, by request.stream()."
        )


class Wire:
    """The client's end of one request: what it still sends, and whether it is still there."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._leaving: asyncio.Task[None] | None = None
        self.complete = False
        """Whether the whole body has come."""
        self.when_complete: Callable[[], None] | None = None
        """Called once it has."""
        self.is_begun = False
        """Whether a body is known to come, though no header says so."""
        self._first: Message | None = None
        self.serving: asyncio.Task[Any] | None = None  # Any: as asyncio tells it
        """The task that serves the request, once it is known."""
        self._is_cut = False

    async def begin(self) -> None:
        """Learn whether there is a body at all: of HTTP/2 only its beginning tells. Raises DisconnectedError."""
        self._first = await self._in_time()
        if self._first["type"] == "http.disconnect":
            raise DisconnectedError
        self.complete = not (self._first.get("body") or self._first.get("more_body"))
        self.is_begun = not self.complete

    async def _in_time(self) -> Message:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                return await self._receive()
        except TimeoutError:
            raise DisconnectedError from None

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes. Raises DisconnectedError."""
        while not self.complete:
            message, self._first = self._first or await self._in_time(), None
            if message["type"] == "http.disconnect":
                self._cut()
                raise DisconnectedError
            self.complete = not message.get("more_body", False)
            if self.complete and self.when_complete is not None:
                self.when_complete()
            if chunk := message.get("body", b""):
                yield chunk

    def watch(self) -> "asyncio.Task[None]":
        """Begin to wait for the client to go, once the body has come; `has_gone` then knows."""
        if self._leaving is None or self._leaving.cancelled():
            self._leaving = asyncio.create_task(self._wait_until_gone())
        return self._leaving

    @property
    def has_gone(self) -> bool:
        """Whether the client is known to have gone."""
        left = self._leaving is not None and self._leaving.done() and not self._leaving.cancelled()
        return left or self._is_cut

    def _cut(self) -> None:
        """The client has gone amid its body. Who reads that in a task of their own is not the only one to end: a
        TaskGroup takes a cancelled child for one that is done, and half a body would pass as the whole.
        """
        self._is_cut = True
        if self.serving is not None and self.serving is not asyncio.current_task():
            self.serving.cancel()

    async def _wait_until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def close(self) -> None:
        """Stop waiting."""
        if self._leaving is not None:
            self._leaving.cancel()


class UnreadRequest(ASGIRequest):
    """Django's request, with the body still on the wire: read it by `stream`, `body_bytes` or `load`."""

    body_limit: int | None = None
    """What `load` takes at most, unless told otherwise; None: anything."""
    streams_body = False
    """Whether the view reads the body itself, piece by piece: then nobody else may."""

    resolved_ahead: ResolverMatch | None = None
    """The view of this path, found before any middleware ran."""
    refusal: BodyTooLargeError | None = None
    """Why the body was not read for the view: what it is answered instead."""
    resolved_for: tuple[str, str | None] | None = None
    """The path and the language that it was found for."""

    def __init__(self, scope: dict[str, Any], wire: Wire) -> None:  # Any: an ASGI scope
        super().__init__(scope, cast("IO[bytes]", _BodyOnDemand(self)))  # a file, as far as Django reads it
        self.wire = wire
        self._is_streamed = False
        self.is_answered = False
        """Whether there is a response; closing that closes this request."""
        self._gone: Callable[[asyncio.Task[None]], None] | None = None

    @cached_property
    def GET(self) -> QueryDict:  # type: ignore[override]  # noqa: N802  # a cached value there as well; Django's name
        """In the request's encoding, as under WSGI; Django's own ASGI request takes UTF-8 whatever that is."""
        return QueryDict(self.META["QUERY_STRING"], encoding=self.encoding)

    @property
    def announced_length(self) -> int | None:
        """Content-Length, if there is a usable one."""
        text = self.META.get("CONTENT_LENGTH", "")
        return int(text) if text.isdecimal() else None

    @property
    def is_unread(self) -> bool:
        """Whether some of the body is, or may be, still on the wire."""
        framed = bool(self.announced_length) or "HTTP_TRANSFER_ENCODING" in self.META
        return not self.wire.complete and (framed or self.wire.is_begun)

    @property
    def is_http_1(self) -> bool:
        """Whether headers say if there is a body, and a connection has one request at a time."""
        version: str = self.scope.get("http_version", "1.1")
        return version.startswith("1")

    @property
    def is_loaded(self) -> bool:
        """Whether the body, wherever it came from, lies ready to be read like a file."""
        return not isinstance(self._stream, _BodyOnDemand)

    async def stream(self, *, limit: int | None) -> AsyncIterator[bytes]:
        """Yield the body as it arrives, never more than `limit` bytes. What was streamed cannot be had again.

        Raises BodyTooLargeError (before the first byte, if the length was announced) and DisconnectedError.
        """
        self._is_streamed = self._read_started = True
        async for chunk in self._arriving(limit):
            yield chunk

    async def _arriving(self, limit: int | None) -> AsyncIterator[bytes]:
        if limit is not None and (announced := self.announced_length) is not None and announced > limit:
            raise BodyTooLargeError(limit, announced)
        if not self.is_unread:
            # Nothing is to come but the news that the client has gone, and who watches for it waits for that already.
            return
        total = 0
        async for chunk in self.wire.chunks():
            total += len(chunk)
            if limit is not None and total > limit:
                raise BodyTooLargeError(limit)
            yield chunk

    async def body_bytes(self, *, limit: int) -> bytes:
        """The whole body in memory; for small messages."""
        return b"".join([chunk async for chunk in self.stream(limit=limit)])

    async def load(self, *, limit: int | None = None) -> None:
        """Read the body, so that Django's and DRF's synchronous properties (`body`, `POST`, `data`) can give it.

        Long ones go to a temporary file. Raises BodyTooLargeError, DisconnectedError, and RawPostDataException if the
        body was streamed before.
        """
        if self.is_loaded:
            return
        if self._is_streamed:
            raise RawPostDataException("The body of this request was streamed; what has been read is not kept.")
        if not self.is_unread:
            self._stream = io.BytesIO()
            return
        self._stream = await spool(self._arriving(self.body_limit if limit is None else limit))
        if self.announced_length is None:
            # DRF takes a body without a length for none.
            self.META["CONTENT_LENGTH"] = str(self._stream.seek(0, io.SEEK_END))
            self._stream.seek(0)

    def watch_for(self, serving: "asyncio.Task[Any] | None") -> None:  # Any: as asyncio tells it
        """From now on cancel `serving` when the client goes. While its body comes, reading that notices it."""
        if serving is None or self._gone is not None:
            return
        if self.is_unread:
            self.wire.when_complete = partial(self.watch_for, serving)
            return

        def gone(leaving: "asyncio.Task[None]") -> None:
            if not leaving.cancelled():
                serving.cancel()

        self._gone = gone
        self.wire.watch().add_done_callback(gone)

    def stop_watching(self) -> None:
        """The answer is sent."""
        if self._gone is not None:
            self.wire.watch().remove_done_callback(self._gone)

    def close(self) -> None:
        """Django's: closes the files of the body, and stops waiting for the client to go."""
        self.wire.close()
        super().close()


class _BodyOnDemand(io.RawIOBase):
    """Stands for the body until it is read: synchronous code on a thread waits for it, on the event loop it may not."""

    def __init__(self, request: UnreadRequest) -> None:
        super().__init__()
        self._request = request

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        return self._loaded().read(-1 if size is None else size)

    def readline(self, size: int | None = -1) -> bytes:
        return self._loaded().readline(-1 if size is None else size)

    def _loaded(self) -> IO[bytes]:
        request = self._request
        if not request.is_unread:
            return io.BytesIO()
        if request.streams_body or _on_the_loop():
            raise BodyUnreadError
        async_to_sync(request.load)()
        stream: IO[bytes] = request._stream
        return stream


def _on_the_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def spool(chunks: AsyncIterator[bytes]) -> BinaryIO:
    """The chunks as one file at its beginning: in memory up to Django's limit for uploads, then on disk."""
    memory = io.BytesIO()
    disk: BinaryIO | None = None
    try:
        async for chunk in chunks:
            if disk is not None:
                await work(disk.write, chunk)
            elif memory.tell() + len(chunk) <= settings.FILE_UPLOAD_MAX_MEMORY_SIZE:
                memory.write(chunk)
            else:
                # Closed by the request, or below.
                disk = cast("BinaryIO", tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR))  # noqa: SIM115  # outlives this call; typeshed's type is another
                await work(disk.write, memory.getvalue() + chunk)
    except BaseException:
        if disk is not None:
            disk.close()
        raise
    file: BinaryIO = memory if disk is None else disk
    file.seek(0)
    return file
