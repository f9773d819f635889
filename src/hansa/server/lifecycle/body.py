"""A request whose body has not been read yet."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from django.core.handlers.asgi import ASGIRequest

Message = Mapping[str, Any]  # Any: ASGI messages are open dictionaries
Receive = Callable[[], Awaitable[Message]]

IDLE_SECONDS = 60.0
"""A client that sends nothing of its body for so long is taken for gone."""


class BodyTooLargeError(Exception):
    """The body is longer than the view allows."""

    def __init__(self, limit: int, announced: int | None = None) -> None:
        seen = f"{announced:,} bytes were announced" if announced is not None else "more bytes came"
        super().__init__(f"The body is too large: {seen}, at most {limit:,} are allowed here.")


class DisconnectedError(Exception):
    """The client went away before its body was complete."""


class UnreadRequest(ASGIRequest):
    """Django's request, with the body still on the wire: read it by `stream` or `body_bytes`, within a limit."""

    def __init__(self, scope: dict[str, Any], receive: Receive) -> None:  # Any: an ASGI scope
        super().__init__(scope, io.BytesIO())
        self._receive = receive
        self._complete = False

    @property
    def announced_length(self) -> int | None:
        """Content-Length, if there is a usable one."""
        text = self.META.get("CONTENT_LENGTH", "")
        return int(text) if text.isdecimal() else None

    @property
    def is_unread(self) -> bool:
        """Whether some of the body is, or may be, still on the wire."""
        return not self._complete and (bool(self.announced_length) or "HTTP_TRANSFER_ENCODING" in self.META)

    async def stream(self, *, limit: int) -> AsyncIterator[bytes]:
        """Yield the body as it arrives, never more than `limit` bytes.

        Raises BodyTooLargeError (before the first byte, if the length was announced) and DisconnectedError.
        """
        if (announced := self.announced_length) is not None and announced > limit:
            raise BodyTooLargeError(limit, announced)
        total = 0
        while not self._complete:
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    message = await self._receive()
            except TimeoutError:
                raise DisconnectedError from None
            if message["type"] == "http.disconnect":
                raise DisconnectedError
            self._complete = not message.get("more_body", False)
            if chunk := message.get("body", b""):
                total += len(chunk)
                if total > limit:
                    raise BodyTooLargeError(limit)
                yield chunk

    async def body_bytes(self, *, limit: int) -> bytes:
        """The whole body in memory; for small messages."""
        return b"".join([chunk async for chunk in self.stream(limit=limit)])

    async def disconnected(self) -> None:
        """Return when the client has gone. To be awaited beside something else, after the body was read."""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return
