"""What a server serves: `notes.asgi:application`."""

import asyncio
import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "notes.settings")
django.setup()

from hansa.server.lifecycle.asgi import Handler, Scope  # noqa: E402  # Django must be set up before
from hansa.server.lifecycle.body import Receive  # noqa: E402  # as above
from hansa.server.lifecycle.sending import Send  # noqa: E402  # as above
from notes.views import NEWS  # noqa: E402  # as above

handler = Handler()  # where get_asgi_application() would stand; a project in which nothing waits needs no more


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Requests go to the handler. Those that wait are woken on the loop of the lifespan."""
    if scope["type"] == "http":
        await handler(scope, receive, send)
    elif scope["type"] == "lifespan":
        await receive()
        NEWS.bind(asyncio.get_running_loop())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
