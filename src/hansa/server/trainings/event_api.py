"""The event log of a training, as pages and as a stream. The messages are in `hansa.protocol.events`."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Final
from uuid import UUID

from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from hansa.protocol import events as wire
from hansa.server.accounts.permissions import caller
from hansa.server.lifecycle.bridge import read
from hansa.server.lifecycle.events import MEDIA_TYPE, Event, EventStream, EventStreamRenderer, last_event_id
from hansa.server.lifecycle.messages import MessageView
from hansa.server.lifecycle.openapi import ref
from hansa.server.lifecycle.request import AsyncRequest
from hansa.server.trainings import events
from hansa.server.trainings.events import Found, Wanted
from hansa.server.trainings.hints import HINTS, something

DEFAULT_LIMIT = 100
STREAMED_AT_ONCE = 100
"""Events that a stream holds: a reader that does not read keeps so many in memory, and no more."""
SETTLE_SECONDS = 0.1
"""How long an event waits for its neighbours before those who follow are told."""
LAST: Final = 2**53
STREAMED: Final[dict[str, object]] = {
    "type": "object",
    "description": "Of each event of the stream: its number, and an Event as JSON.",
    "required": ["id", "data"],
    "properties": {
        "id": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": ref(wire.Event)},
    },
}
KINDS: Final = frozenset(kind.value for kind in wire.EventKind)


class TrainingEvents(MessageView):
    """The event log of a training."""

    renderer_classes = (*MessageView.renderer_classes, EventStreamRenderer)

    @extend_schema(
        parameters=[
            OpenApiParameter("after", int, description="The number of the last event one has; default 0."),
            OpenApiParameter("before", int, description="Instead: for the last events before this number."),
            OpenApiParameter("round", int, description="Of this round only."),
            OpenApiParameter("client", str, description="Of this participant only, by id or user name."),
            OpenApiParameter("kind", str, description="Of these kinds only, or families of them; with commas between."),
            OpenApiParameter("limit", int, description="At most so many, 1 to 1000; default 100. Streams have no end."),
            OpenApiParameter(
                "Last-Event-ID", int, "header", description="As `after`, which it goes before; for streams."
            ),
        ],
        responses={(200, "application/json"): ref(wire.EventPage), (200, MEDIA_TYPE): STREAMED},
    )
    async def get(self, request: Request, training_id: UUID) -> HttpResponseBase:
        """What happened in a training, oldest first. As `text/event-stream` it goes on with what comes."""
        number, ahead = self._number("after") or 0, self._number("before")
        limit = self._number("limit", least=1, most=wire.MAX_EVENTS) or DEFAULT_LIMIT
        seen = self._last_seen(number)  # a page has no use for it, and refuses what is none all the same
        of_it = caller(request), training_id, self._wanted()
        if getattr(request.accepted_renderer, "media_type", "") == MEDIA_TYPE:
            look = partial(_look, self.request, *of_it[1:])
            first = await look(seen)  # who is refused is told so, before anything is streamed
            await self.unread.body_bytes(limit=0)
            return EventStream(_follow(training_id, look, first))
        if ahead is not None:
            return Response(await read(events.before, *of_it, number=ahead, limit=limit))
        return Response((await read(events.after, *of_it, number=number, limit=limit)).page)

    def _wanted(self) -> Wanted:
        asked = self.request.query_params
        return Wanted(self._number("round", most=2**31 - 1), asked.get("client", ""), _kinds(asked.get("kind", "")))

    def _number(self, name: str, *, least: int = 0, most: int = LAST) -> int | None:
        text = self.request.query_params.get(name)
        if text is not None and not (text.isascii() and text.isdecimal() and least <= int(text[:20]) <= most):
            raise ValidationError({name: [f"{text[:40]!r} is not a whole number from {least} to {most}."]})
        return None if text is None else int(text)

    def _last_seen(self, number: int) -> int:
        text = last_event_id(self.request)
        if text is None:
            return number
        if not (text.isascii() and text.isdecimal() and len(text) < 17):
            raise ValidationError({"last_event_id": [f"{text[:40]!r} is no event's number. Send it as it came."]})
        return int(text)


def _kinds(text: str) -> frozenset[str]:
    """Those that are named, and all of a family that is. Raises a field error for what is neither."""
    found = set[str]()
    for name in filter(None, text.split(",")):
        named = {kind for kind in KINDS if name in (kind, kind.partition(".")[0])}
        if not named:
            known = ", ".join(sorted(KINDS | {kind.partition(".")[0] for kind in KINDS}))
            raise ValidationError({"kind": [f"{name[:40]!r} is no kind of event. There are: {known}."]})
        found |= named
    return frozenset(found)


async def _look(request: AsyncRequest, training_id: UUID, wanted: Wanted, number: int) -> Found:
    """Asks anew who the caller is, and what they may see: a stream may go on for longer than either lasts."""
    await request.reauthenticate()
    user = caller(request)
    return await read(events.after, user, training_id, wanted, number=number, limit=STREAMED_AT_ONCE)


async def _follow(training_id: UUID, look: Callable[[int], Awaitable[Found]], found: Found) -> AsyncIterator[Event]:
    """What was found, then what comes."""
    with HINTS.waiter(training_id) as woken:
        while not HINTS.closing:
            for event in found.page.events:
                yield Event(event, id=str(event.id))
            woken.clear()  # before looking: nothing falls between the look and the wait
            found = await look(found.seen)
            while not (found.page.events or HINTS.closing):
                await something(woken, settle=SETTLE_SECONDS)
                found = await look(found.seen)
