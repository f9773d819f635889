"""A small Django project whose views stream, and a real server for it in the process of the test."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from django.urls import path
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server
from rest_framework.permissions import AllowAny, BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from hansa.server.lifecycle.asgi import Handler
from hansa.server.lifecycle.errors import NotFoundError
from hansa.server.lifecycle.events import Event, EventStream, EventStreamRenderer
from hansa.server.lifecycle.rendering import StructJSONRenderer
from hansa.server.lifecycle.views import APIView

Source = Callable[[Request], AsyncIterator[Event]]


class Offer:
    """What the view streams; a test sets it."""

    source: Source
    heartbeat = 15.0


class Nobody(BasePermission):
    def has_permission(self, request: Request, view: Any) -> bool:
        return False


class Streamed(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = ()
    renderer_classes = (EventStreamRenderer, StructJSONRenderer)

    async def get(self, request: Request) -> EventStream:
        if "unknown" in request.query_params:
            raise NotFoundError("There is no such stream.")
        return EventStream(Offer.source(request), heartbeat=Offer.heartbeat)


class Refused(Streamed):
    permission_classes = (Nobody,)


class Plain(Streamed):
    renderer_classes = (StructJSONRenderer,)

    async def get(self, request: Request) -> Response:  # type: ignore[override]  # no stream here
        return Response({"plain": True})


urlpatterns = [
    path("events/", Streamed.as_view()),
    path("refused/", Refused.as_view()),
    path("plain/", Plain.as_view()),
]


class Application:
    def __init__(self) -> None:
        self._handler = Handler()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await self._handler(scope, receive, send)
            return
        for answer in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{answer}.complete"})


class Served:
    """Where it listens."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket

    def client(self) -> httpx.AsyncClient:
        """One that keeps no connection."""
        transport = httpx.AsyncHTTPTransport(uds=str(self.socket), limits=httpx.Limits(max_keepalive_connections=0))
        return httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=10)

    async def connect(self, path: str = "/events/") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A plain socket on which the answer to a GET arrives."""
        reader, writer = await asyncio.open_unix_connection(self.socket)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode())
        return reader, writer


async def _listens(socket: Path) -> bool:
    """Whether a connection is let in; the file is there before."""
    try:
        _, writer = await asyncio.open_unix_connection(socket)
    except OSError:
        return False
    writer.close()
    return True


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Served]:
    """granian, on the loop of the test."""
    socket = folder / "socket"
    server = Server(
        Application(),
        uds=socket,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        websockets=False,
        backlog=4096,
        backpressure=4096,
        log_enabled=False,
    )
    running = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(60):
            while not await _listens(socket):  # noqa: ASYNC110  # nobody is told of it
                await asyncio.sleep(0.001)
        yield Served(socket)
    finally:
        server.stop()
        await running
