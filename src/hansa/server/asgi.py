"""The ASGI application: requests go to the lifecycle's handler, the lifespan carries what works by itself."""

import asyncio
import logging
import os
import signal
from contextlib import suppress

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hansa.server.settings")
django.setup()

from hansa.server.inference.keeping import keep_programs  # noqa: E402  # Django must be set up before
from hansa.server.lifecycle.asgi import Handler, Scope  # noqa: E402  # as above
from hansa.server.lifecycle.body import Receive  # noqa: E402  # as above
from hansa.server.lifecycle.observing import Observed  # noqa: E402  # as above
from hansa.server.lifecycle.sending import Send  # noqa: E402  # as above
from hansa.server.notifications.deliverer import Deliverer  # noqa: E402  # as above
from hansa.server.notifications.housekeeping import keep_outbox  # noqa: E402  # as above
from hansa.server.ops import accounting  # noqa: E402  # as above
from hansa.server.trainings.hints import HINTS  # noqa: E402  # as above
from hansa.server.trainings.housekeeping import keep_house  # noqa: E402  # as above
from hansa.server.trainings.mending import mend  # noqa: E402  # as above
from hansa.server.trainings.orchestrator import Orchestrator  # noqa: E402  # as above
from hansa.server.trainings.services import deliveries  # noqa: E402  # as above

log = logging.getLogger(__name__)


class Application:
    """Serves HTTP; between startup and shutdown the orchestrator and the deliverer run on the same loop."""

    def __init__(self) -> None:
        self._handler = Observed(Handler(), accounting.request_ended)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._handler(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        HINTS.bind(asyncio.get_running_loop())
        running = asyncio.gather(
            Orchestrator().run(), keep_house(), Deliverer(deliveries.take).run(), keep_outbox(), mend(), keep_programs()
        )
        running.add_done_callback(_end_if_it_ended)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        running.remove_done_callback(_end_if_it_ended)  # now it shall end
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        HINTS.bind(None)
        await send({"type": "lifespan.shutdown.complete"})


def _end_if_it_ended(running: "asyncio.Future[tuple[None, None, None, None, None, None]]") -> None:
    """A server whose trainings no longer move must not look alive: whoever restarts services restarts it."""
    if not running.cancelled():
        log.critical("The server's own work ended; the server ends with it.", exc_info=running.exception())
        signal.raise_signal(signal.SIGTERM)


application = Application()
