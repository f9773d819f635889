"""One request whose body and whose end the test decides: sent in pieces, broken off, never finished."""

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from typing import Any

from django.core.handlers.asgi import ASGIHandler

from support.people import Person
from support.scopes import http_scope


class Exchange:
    """A request on its way. `send` gives it body, `disconnect` cuts the line, `answer` waits for the response."""

    def __init__(
        self, handler: ASGIHandler, person: Person, method: str, path: str, headers: Mapping[str, str] | None = None
    ) -> None:
        self._events: deque[dict[str, Any]] = deque()
        self._arrived = asyncio.Event()
        self._wanted = asyncio.Event()
        self._sent: list[Mapping[str, Any]] = []
        self.asked = 0
        """How often the server has asked for more of the body."""
        sent = {"host": "localhost", "authorization": f"Token {person.token}", **(headers or {})}
        if method in ("POST", "PUT") and "content-length" not in {name.lower() for name in sent}:
            sent["transfer-encoding"] = "chunked"  # as HTTP says that a body of unknown length comes
        scope = http_scope(method, path, sent, server="localhost")
        self.task = asyncio.create_task(handler(scope, self._receive, self._collect))

    def send(self, data: bytes, *, last: bool = False) -> None:
        """The next piece of the body arrives."""
        self._put({"type": "http.request", "body": data, "more_body": not last})

    def disconnect(self) -> None:
        """The connection breaks."""
        self._put({"type": "http.disconnect"})

    async def until_asked(self, times: int = 1) -> None:
        """Wait until the server wants the next piece, having taken in those before."""
        async with asyncio.timeout(10):
            while self.asked < times:
                self._wanted.clear()
                await self._wanted.wait()

    async def finished(self) -> None:
        """Wait until the server has done with the request."""
        await asyncio.wait_for(asyncio.wait([self.task]), timeout=10)

    @property
    def status(self) -> int | None:
        """The status of the answer; None if there was none."""
        return self._sent[0]["status"] if self._sent else None

    @property
    def headers(self) -> dict[str, str]:
        """The answer's headers, names in lower case."""
        return {name.decode().lower(): value.decode() for name, value in self._sent[0]["headers"]}

    @property
    def json(self) -> Any:
        """The answer's body."""
        return json.loads(b"".join(message.get("body", b"") for message in self._sent[1:]))

    def _put(self, event: dict[str, Any]) -> None:
        self._events.append(event)
        self._arrived.set()

    async def _receive(self) -> dict[str, Any]:
        self.asked += 1
        self._wanted.set()
        while not self._events:
            self._arrived.clear()
            await self._arrived.wait()
        return self._events.popleft()

    async def _collect(self, message: Mapping[str, Any]) -> None:
        self._sent.append(message)
