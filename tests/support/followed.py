"""Somebody who reads a stream of events as it comes, while they are let."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from django.core.handlers.asgi import ASGIHandler

from support.exchange import Exchange
from support.people import Person


class Reader(Exchange):
    """Opens the stream at once."""

    def __init__(
        self,
        handler: ASGIHandler,
        person: Person,
        path: str,
        last: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.events: list[tuple[str | None, Any]] = []
        """Of each event its id, or its kind where it has none, and its data."""
        self._grew, self.reads = asyncio.Event(), asyncio.Event()
        self.reads.set()
        resumed = {} if last is None else {"last-event-id": str(last)}
        super().__init__(handler, person, "GET", path, {"accept": "text/event-stream", **resumed, **(headers or {})})
        self.send(b"", last=True)

    async def _collect(self, message: Mapping[str, Any]) -> None:
        await super()._collect(message)
        for frame in message.get("body", b"").decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in frame.splitlines() if not line.startswith(":"))
            if "data" in fields:
                self.events.append((fields.get("id", fields.get("event")), json.loads(fields["data"])))
        self._grew.set()
        await self.reads.wait()

    async def until(self, count: int) -> list[str]:
        """So many events; the kinds of all that have come."""
        async with asyncio.timeout(10):
            while len(self.events) < count:
                self._grew.clear()
                await self._grew.wait()
        return [data["kind"] for _, data in self.events]
