"""One request, asked twice: of Django's WSGI handler and, by raw ASGI messages, of ours."""

import asyncio
import io
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

from support.scopes import http_scope

Message = Mapping[str, Any]  # Any: ASGI messages are open dictionaries
Application = Callable[[dict[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Any]


@dataclass(frozen=True)
class Ask:
    """A request, as a client means it."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    announced: bool = True
    """Whether its length is sent ahead; else it comes in chunks."""
    size: int | None = None
    """The length that is announced, if that is not the body's."""

    def sent_headers(self) -> dict[str, str]:
        """With what frames the body."""
        framing = {}
        if self.size is not None or (self.body and self.announced):
            framing = {"Content-Length": str(len(self.body) if self.size is None else self.size)}
        elif self.body:
            framing = {"Transfer-Encoding": "chunked"}
        return {"Host": "testserver", **self.headers, **framing}


@dataclass(frozen=True)
class Answer:
    """What arrives at the client, with what a server does after the handler done already."""

    status: int
    headers: tuple[tuple[str, str], ...]
    """Names in lower case, sorted; without Date."""
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of the first of this name."""
        return next((value for each, value in self.headers if each == name.lower()), None)


def _answer(ask: Ask, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> Answer:
    # The body of a HEAD, a 204 and a 304 is cut off by a WSGI server, not by Django's handler.
    bodiless = ask.method == "HEAD" or status in (204, 304)
    # Both servers cut the blank that Django's WSGI handler leaves before a cookie; names are the same in any case.
    shown = sorted((name.lower(), value.strip()) for name, value in headers if name.lower() != "date")
    return Answer(status, tuple(shown), b"" if bodiless else body)


def ask_wsgi(application: Callable[..., Any], ask: Ask) -> Answer:
    """Call a WSGI application as a server would."""
    path, _, query = ask.target.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": ask.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin1"),
        "QUERY_STRING": query,
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(ask.body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in ask.sent_headers().items():
        key = name.upper().replace("-", "_")
        environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
    started: list[Any] = []
    response = application(environ, lambda status, headers: started.extend((status, headers)))
    try:
        body = b"".join(response)
    finally:
        response.close()
    return _answer(ask, int(started[0].split()[0]), started[1], body)


class Exchange:
    """One request of an ASGI application, in steps. The client stays until `leave`."""

    def __init__(self, application: Application, ask: Ask, **scope: Any) -> None:
        self.ask = ask
        self.sent: list[Message] = []
        self.received = 0
        """Bytes of the body that the application has taken."""
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        self._asked = asyncio.Event()
        self._moved = asyncio.Event()
        described = http_scope(ask.method, ask.target, ask.sent_headers())
        self.task = asyncio.create_task(application({**described, **scope}, self._receive, self._send))

    def give(self, data: bytes, *, last: bool = False) -> None:
        """Send a piece of the body."""
        self._events.put_nowait({"type": "http.request", "body": data, "more_body": not last})

    def leave(self) -> None:
        """Go away."""
        self._events.put_nowait({"type": "http.disconnect"})

    async def until_asked(self) -> None:
        """Return when the application waits for something of the client."""
        async with asyncio.timeout(30):
            await self._asked.wait()

    async def until_sent(self, pieces: int) -> None:
        """Return when the application has sent so many messages."""
        async with asyncio.timeout(30):
            while len(self.sent) < pieces:
                self._moved.clear()
                await self._moved.wait()

    async def ended(self) -> None:
        """Return when the application has returned; raises what it raised."""
        async with asyncio.timeout(30):
            await self.task

    async def answer(self) -> Answer:
        """What was answered, whole."""
        await self.ended()
        start, *pieces = self.sent
        assert not pieces[-1].get("more_body", False)
        headers = [(name.decode("latin1"), value.decode("latin1")) for name, value in start["headers"]]
        return _answer(self.ask, start["status"], headers, b"".join(piece.get("body", b"") for piece in pieces))

    async def _receive(self) -> Message:
        self._asked.set()
        event = await self._events.get()
        self.received += len(event.get("body", b""))
        return event

    async def _send(self, message: Message) -> None:
        self.sent.append(message)
        self._moved.set()


async def ask_asgi(application: Application, ask: Ask, *, piece: int = 2**16, **scope: Any) -> Answer:
    """Ask, send the whole body, and stay until the answer is there."""
    exchange = Exchange(application, ask, **scope)
    for start in range(0, len(ask.body), piece):
        exchange.give(ask.body[start : start + piece])
    exchange.give(b"", last=True)
    return await exchange.answer()
