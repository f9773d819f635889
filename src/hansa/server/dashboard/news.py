"""What happens in any of the trainings that somebody may see, as a stream of events: that it does, and nothing of what.

The overview follows it, as a training's page follows that training's own events.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, Final

from django.http.response import HttpResponseBase
from rest_framework.request import Request

from hansa.server.accounts.models import User
from hansa.server.accounts.permissions import caller
from hansa.server.dashboard.page import Page
from hansa.server.lifecycle.bridge import read
from hansa.server.lifecycle.events import Event, EventStream, last_event_id
from hansa.server.lifecycle.request import AsyncRequest
from hansa.server.trainings import events, selectors
from hansa.server.trainings.hints import ANY, HINTS, something

SETTLE_SECONDS: Final = 1.0
"""How long what happened waits for its neighbours: an overview that is a second late is as good."""


class News(Page):
    """For a browser's EventSource. `after`, or the header Last-Event-ID: what was seen already."""

    request: AsyncRequest

    async def get(self, request: Request, **asked: Any) -> HttpResponseBase:  # Any: the URL's arguments
        """One event now, if there is news, and one whenever there is."""
        seen = last_event_id(request) or request.query_params.get("after", "")
        look = partial(_look, self.request)
        newest = await look()  # who is refused is told so, before anything is streamed
        return EventStream(_follow(look, seen, newest))


def newest(user: User) -> str:
    """Another text whenever something has happened in a training that the user may see."""
    return str(events.newest_of(selectors.visible(user)))


async def _look(request: AsyncRequest) -> str:
    """Asks anew who the caller is: a stream may go on for longer than they are signed in."""
    await request.reauthenticate()
    return await read(newest, caller(request))


async def _follow(look: Callable[[], Awaitable[str]], seen: str, newest: str) -> AsyncIterator[Event]:
    with HINTS.waiter(ANY) as woken:
        while not HINTS.closing:
            if newest != seen:
                yield Event({"kind": "moved"}, id=newest)
                seen = newest
            woken.clear()  # before looking: nothing falls between the look and the wait
            newest = await look()
            if newest == seen:
                await something(woken, settle=SETTLE_SECONDS)
                newest = await look()
