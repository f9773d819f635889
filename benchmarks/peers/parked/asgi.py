"""What granian serves: the lifecycle's handler, and a lifespan that tells the waiters which loop is theirs."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "parked.settings")
django.setup()

from hansa.server.lifecycle.asgi import Handler  # noqa: E402  # Django must be set up before
from parked.urls import WAITERS  # noqa: E402  # as above

Message = dict[str, Any]  # Any: ASGI's messages and scopes are open dictionaries
handler = Handler()


async def application(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Mapping[str, Any]], Awaitable[None]]
) -> None:
    if scope["type"] == "http":
        await handler(scope, receive, send)
        return
    await receive()
    WAITERS.bind(asyncio.get_running_loop())
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
