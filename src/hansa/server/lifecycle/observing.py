"""An ASGI application around another: gives each request an id and its place in a trace, and tells when it has ended.

Around the handler, so that also what never reaches a view has an id, and what is streamed is measured to its last byte.
The id is the caller's, if it sends a sane one as X-Request-ID; it goes back in the answer. Both are noted for the log
(`context.py`), the trace also for what is sent to others (`tracing.py`).
"""

import re
from collections.abc import Awaitable, Callable, Iterable
from time import perf_counter
from typing import Any, Final, NamedTuple

from hansa.server.lifecycle.body import Message, Receive
from hansa.server.lifecycle.sending import Send
from hansa.server.lifecycle.tracing import step
from hansa.tracecontext import TRACEPARENT, TRACESTATE, Span, new_id, received

Scope = dict[str, Any]  # Any: an ASGI scope is an open dictionary
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

GONE: Final = 0
"""In the place of a status: the client went away before there was one."""
UNKNOWN_ROUTE: Final = "unknown"
"""In the place of a route: no view has this path."""

_ID_HEADER = b"x-request-id"
_PARENT, _STATE = TRACEPARENT.encode(), TRACESTATE.encode()
_OURS = frozenset({_ID_HEADER, _PARENT, _STATE})
_SANE_ID = re.compile(rb"[0-9A-Za-z._:/+=@-]{1,128}")


class Exchange(NamedTuple):
    """A request that has ended, as far as it is worth counting."""

    method: str
    route: str
    """The pattern of its path, as it stands among the URLs; never what somebody typed."""
    status: int
    seconds: float
    """From the request's head to the last byte of its answer: for who waits on the server, with the waiting."""
    received: int
    """Bytes of its body that were read."""
    sent: int
    """Bytes of the answer's body."""


class Observed:
    """Serves what `application` serves, and calls `ended` after each request."""

    def __init__(self, application: Application, ended: Callable[[Exchange], None]) -> None:
        self._application = application
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        request_id, span = _identified(scope["headers"])
        meter = _Meter(receive, send, request_id)
        began = perf_counter()
        with step(span, request_id=request_id):
            try:
                await self._application(scope, meter.receive, meter.send)
            finally:
                seconds = perf_counter() - began
                route = scope.get("route", UNKNOWN_ROUTE)
                self._ended(Exchange(scope["method"], route, meter.status, seconds, meter.received, meter.sent))


class _Meter:
    """The two ends of a request's line, counted."""

    __slots__ = ("_id", "_receive", "_send", "received", "sent", "status")

    def __init__(self, receive: Receive, send: Send, request_id: str) -> None:
        self._receive = receive
        self._send = send
        self._id = (b"X-Request-ID", request_id.encode())
        self.status = GONE
        self.received = self.sent = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self.received += len(message.get("body", b""))
        return message

    def send(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message["headers"], self._id]}
        else:
            self.sent += len(message.get("body", b""))
        return self._send(message)


def _identified(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, Span]:
    """The request's id, and its step of the caller's trace, or of a new one."""
    ours = [(name, value) for name, value in headers if name in _OURS]
    if not ours:
        return new_id(16), Span.root()
    ids = [value for name, value in ours if name == _ID_HEADER]
    known = len(ids) == 1 and _SANE_ID.fullmatch(ids[0])
    return ids[0].decode() if known else new_id(16), _step(ours)


def _step(ours: list[tuple[bytes, bytes]]) -> Span:
    parents = [value.decode("latin1") for name, value in ours if name == _PARENT]
    states = [value.decode("latin1") for name, value in ours if name == _STATE]
    asking = received(parents, states)
    return Span.root() if asking is None else asking.child()
