"""One number that grows: polls wait for it, streams send it, and a broadcast makes it grow."""

import itertools
from collections.abc import AsyncIterator

from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response

from hansa.server.lifecycle.events import Event, EventStream, EventStreamRenderer
from hansa.server.lifecycle.rendering import StructJSONRenderer
from hansa.server.lifecycle.views import APIView
from hansa.server.lifecycle.waiting import Waiters, wait_for

WAITERS: Waiters[str] = Waiters()
NEWS = "news"
WAIT_SECONDS = 120.0


class Number:
    """The number, the same for everybody."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.now = 0

    def grow(self) -> None:
        self.now = next(self._numbers)
        WAITERS.wake([NEWS])


NUMBER = Number()


class Poll(APIView):
    """Answers when the number is higher than `after`."""

    async def get(self, request: Request) -> Response:
        after = int(request.query_params.get("after", "0"))

        async def look() -> int | None:
            return NUMBER.now if NUMBER.now > after else None

        number = await wait_for(look, waiters=WAITERS, key=NEWS, seconds=WAIT_SECONDS, request=request)
        return Response(status=204) if number is None else Response({"number": number})


class Events(APIView):
    """Sends every new number."""

    renderer_classes = (EventStreamRenderer, StructJSONRenderer)

    async def get(self, request: Request) -> EventStream:
        return EventStream(numbers())


async def numbers() -> AsyncIterator[Event]:
    with WAITERS.waiter(NEWS) as woken:
        while True:
            await woken.wait()
            woken.clear()
            yield Event({"number": NUMBER.now})


class Broadcast(APIView):
    """Wakes everybody."""

    async def post(self, request: Request) -> Response:
        NUMBER.grow()
        return Response({"grown_to": NUMBER.now})


urlpatterns = [
    path("poll/", Poll.as_view()),
    path("events/", Events.as_view()),
    path("broadcast/", Broadcast.as_view()),
]
