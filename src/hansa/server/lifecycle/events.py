"""Server-sent events: an answer that goes on, for a browser's EventSource or anybody who reads lines.

    class Progress(APIView):
        renderer_classes = (EventStreamRenderer, StructJSONRenderer)

        async def get(self, request):
            return EventStream(news_since(last_event_id(request)))

The specification is WHATWG HTML, section 9.2. A stream that is silent costs two small objects and a timer: no thread,
no database connection.
"""

import asyncio
import contextvars
import logging
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import Any

import msgspec
from django.http import HttpRequest, StreamingHttpResponse
from rest_framework import exceptions
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from hansa.server.lifecycle.answers import exception_handler
from hansa.server.lifecycle.errors import SERVER_ERROR
from hansa.server.lifecycle.rendering import encode
from hansa.server.lifecycle.threads import release

log = logging.getLogger(__name__)

MEDIA_TYPE = "text/event-stream"
HEARTBEAT_SECONDS = 15.0
"""Proxies take a connection on which nothing comes for dead; most after 60 seconds, some after 30."""
LONGEST_ID = 1024
_SILENCE = b":\n\n"
"""A comment: it says that the line is alive, and no client takes it for an event."""


class Event(msgspec.Struct, frozen=True):
    """One event. `data` is a text, or anything that JSON can carry: Structs, dataclasses, plain data."""

    data: object
    event: str | None = None
    """Its kind, for `addEventListener`; None: a plain `message`. `error` is what streams end with when they fail."""
    id: str | None = None
    """What the client sends as Last-Event-ID when it comes again."""
    retry: int | None = None
    """Milliseconds after which the client comes again from now on."""

    def __post_init__(self) -> None:
        """Raise ValueError for what would break out of its line."""
        for name, text in (("event", self.event), ("id", self.id)):
            if text is not None and (seen := next((char for char in "\r\n\0" if char in text), None)) is not None:
                raise ValueError(f"The {name} of an event is one line: {text!r} has {seen!r} in it. Leave it out.")
        if self.retry is not None and self.retry < 0:
            raise ValueError(f"retry is {self.retry}; it must be milliseconds, at least 0.")

    def encode(self) -> bytes:
        r"""The lines of it.

        >>> Event("two\nlines", id="7").encode()
        b'id: 7\ndata: two\ndata: lines\n\n'
        """
        fields = [("event", self.event), ("id", self.id), ("retry", self.retry)]
        head = "".join(f"{name}: {value}\n" for name, value in fields if value is not None)
        # Not splitlines(): that would split at characters which end no line here.
        text = self.data if isinstance(self.data, str) else encode(self.data).decode()
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        return f"{head}{''.join(f'data: {line}{chr(10)}' for line in lines)}\n".encode()


class EventStream(StreamingHttpResponse):
    """Sends events as they come, and every `heartbeat` seconds of silence a comment.

    The iterator is begun when the first byte was sent (for HEAD: never, so it should hold nothing before its first
    step) and closed when the client goes, when it ends, or by `end_all`. What it raises is logged and sent as a last
    event, `error`, with `{"detail", "code"}`. An iterator that goes to threads by `sync_to_async` (Django's `aget`) and
    then waits should `await threads.release()` before, as `wait_for` does; else the thread is given back at the next
    heartbeat. The bridge needs no such care.
    """

    def __init__(
        self,
        events: AsyncIterable[Event],
        *,
        heartbeat: float = HEARTBEAT_SECONDS,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if not heartbeat > 0:
            raise ValueError(f"heartbeat is {heartbeat!r}; it must be seconds, above 0.")
        self._frames = _Frames(events, heartbeat)
        # nginx collects answers before it passes them on, unless told not to.
        unbuffered = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no", **(headers or {})}
        super().__init__(self._frames, status=status, content_type=MEDIA_TYPE, headers=unbuffered)

    @property
    def streaming_content(self) -> Any:  # Any: as Django's
        """As Django's, without its wrapper as long as no middleware has put its own around the content."""
        content = self._iterator  # type: ignore[attr-defined]  # Django's own; the stubs do not know it
        return content if content is self._frames else super().streaming_content

    @streaming_content.setter
    def streaming_content(self, content: Any) -> None:  # Any: as above
        self._set_streaming_content(content)  # type: ignore[attr-defined]  # as above

    def __aiter__(self) -> AsyncIterator[bytes]:
        """As Django's; whoever closes what this returns closes the iterator of events."""
        return aiter(self.streaming_content)


def end_all() -> None:
    """End every open stream, from any thread: for servers that stop. Clients come again, to whoever serves then."""
    for frames in list(_open):
        frames.stop()


_open: set["_Frames"] = set()
_ending: set["asyncio.Task[None]"] = set()
"""The loop itself holds its tasks weakly only."""


class _Frames:
    """What goes over the wire: a comment at once, then events, and comments in between."""

    __slots__ = ("_closed", "_context", "_events", "_heartbeat", "_loop", "_step", "_steps", "_stopping")

    def __init__(self, events: AsyncIterable[Event], heartbeat: float) -> None:
        self._events = events
        self._heartbeat = heartbeat
        self._steps: AsyncIterator[Event] | None = None
        self._step: asyncio.Task[Event | None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context: contextvars.Context | None = None
        self._closed = self._stopping = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._loop is None:
            await self._begin()
            return _SILENCE
        try:
            frame = None if self._closed or self._stopping else await self._frame()
        except Exception as error:  # noqa: BLE001  # the outermost loop of a stream: the status is long sent
            frame = Event(_explain(error), event="error").encode()
            self._stopping = True
        except asyncio.CancelledError:
            await self.aclose()
            raise
        if frame is None:
            await self.aclose()
            raise StopAsyncIteration
        return frame

    async def _begin(self) -> None:
        await release()
        self._loop, self._context = asyncio.get_running_loop(), contextvars.copy_context()
        _open.add(self)

    async def _frame(self) -> bytes | None:
        # A step outlives the heartbeats that fall into it. All steps run in the one context of their request.
        if self._step is None:
            self._step = asyncio.create_task(self._advance(), context=self._context)
        await asyncio.wait([self._step], timeout=self._heartbeat)
        if not self._step.done():
            await release()
            return _SILENCE
        step, self._step = self._step, None
        event = None if step.cancelled() else step.result()
        if event is not None and not isinstance(event, Event):
            raise TypeError(f"The iterator of an event stream gave a {type(event).__name__}; it must give Event(...).")
        return None if event is None else event.encode()

    async def _advance(self) -> Event | None:
        if self._steps is None:
            self._steps = aiter(self._events)
        return await anext(self._steps, None)

    def stop(self) -> None:
        """End after what is being sent."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        self._stopping = True
        if self._step is not None:
            self._step.cancel()

    def close(self) -> None:
        """Django's way to say that the answer is over; it may come from another thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end)

    async def aclose(self) -> None:
        """Return when the iterator is closed."""
        if (ending := self._end()) is not None:
            await asyncio.shield(ending)

    def _end(self) -> "asyncio.Task[None] | None":
        if self._closed or self._loop is None:
            return None
        self._closed = True
        _open.discard(self)
        # In a task of its own: whoever is cancelled while it waits for the end does not break it off.
        ending = self._loop.create_task(self._close_events(), context=self._context)
        _ending.add(ending)
        ending.add_done_callback(_ending.discard)
        return ending

    async def _close_events(self) -> None:
        step, self._step = self._step, None
        if step is not None:
            step.cancel()
            await asyncio.wait([step])
            if not step.cancelled() and (error := step.exception()) is not None:
                log.error("An event stream failed while it was closed", exc_info=error)
        if (close := getattr(self._steps, "aclose", None)) is not None:
            try:
                await close()
            except Exception:
                # Nobody is left to be told.
                log.exception("An event stream failed while it was closed")


def _explain(error: Exception) -> object:
    """What a refusal says, or the sentence for a mistake of ours; in the log either way."""
    answer = exception_handler(error, {})
    if answer is None:
        log.error("An event stream failed", exc_info=error)
        return SERVER_ERROR
    log.info("An event stream was ended by %s: %s", type(error).__name__, error)
    if isinstance(answer.data, dict) and "detail" in answer.data:
        return answer.data
    return {"detail": answer.data, "code": "invalid"}


def last_event_id(request: HttpRequest | Request) -> str | None:
    """The id of the last event that the client has; None: it has none.

    From the header that EventSource sends when it comes again, else from the query's `last_event_id`: scripts cannot
    set headers of the first connection. Raises a field error for what can be no id.
    """
    header = request.headers.get("Last-Event-ID")
    text = _as_sent(header) if header else request.GET.get("last_event_id")
    if not text:
        return None
    if len(text) > LONGEST_ID:
        raise _no_id(f"It has {len(text):,} characters; at most {LONGEST_ID:,} are allowed.")
    if any(char in text for char in "\r\n\0"):
        raise _no_id("It has a line break or a NUL in it, as no id has. Send the id as it came.")
    return text


def _as_sent(header: str) -> str:
    # Servers hand headers over as Latin-1; EventSource sends ids as the UTF-8 they came in.
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        raise _no_id("It is not UTF-8. Send the id as it came.") from None


def _no_id(problem: str) -> exceptions.ValidationError:
    return exceptions.ValidationError({"last_event_id": [problem]})


class EventStreamRenderer(BaseRenderer):
    """Lets `Accept: text/event-stream` negotiate. What is no stream after all (a refusal, OPTIONS) is sent as JSON."""

    media_type = MEDIA_TYPE
    format = "events"
    charset = None
    render_style = "binary"

    def render(
        self,
        data: object,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,  # Any: DRF's own open dictionary
    ) -> bytes:
        """JSON, and the response says so."""
        response = (renderer_context or {}).get("response")
        if isinstance(response, Response) and response.content_type is None:
            response["Content-Type"] = "application/json"
        return b"" if data is None else encode(data)
