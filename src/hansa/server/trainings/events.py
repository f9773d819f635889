"""The event log, read: who may see which events, and what of them.

Whoever steers a training sees all. A participant sees what concerns no client in particular, without the reasons and
the counts, which tell of others; and what concerns itself, in full.

Behind the last number seen nothing is missed: within a training numbers are committed in their order (`eventlog`).
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.db.models import Max, OuterRef, Q, QuerySet, Subquery
from msgspec import structs
from rest_framework.exceptions import ValidationError

from hansa.protocol import events as wire
from hansa.protocol.events import EventKind
from hansa.server.accounts.models import User
from hansa.server.trainings.models import Event, Participation, Training
from hansa.server.trainings.narration import told
from hansa.server.trainings.selectors import training_of

FOR_ALL: Final = frozenset({"phase", "version"})
"""What participants are told of a round's events."""
OF_NO_CLIENT: Final = frozenset(
    kind.value for kind in EventKind if kind.value.partition(".")[0] in ("training", "round")
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events are asked for."""

    round: int | None = None
    client: str = ""
    """By id or user name; empty: whoever it may be."""
    kinds: frozenset[str] = frozenset()
    """Empty: any."""


@dataclass(frozen=True, slots=True)
class Found:
    """A page, and the number up to which the log was looked through: there is nothing else that is wanted."""

    page: wire.EventPage
    seen: int


def newest(training_id: UUID) -> int:
    """The number of a training's last event, whoever may see it; 0 while there is none."""
    return Event.objects.filter(training=training_id).order_by("-id").values_list("id", flat=True).first() or 0


def newest_of(trainings: QuerySet[Training]) -> int:
    """The same of many trainings."""
    last = Event.objects.filter(training=OuterRef("pk")).order_by("-id").values("id")[:1]  # a look into an index each
    return trainings.order_by().annotate(last=Subquery(last)).aggregate(newest=Max("last"))["newest"] or 0


def after(user: User, training_id: UUID, wanted: Wanted, *, number: int, limit: int) -> Found:
    """The first events behind a number. Raises NotFoundError as `training_of`, ValidationError as `_participation`."""
    sight = _sight(user, training_of(user, training_id), wanted)
    last_one = newest(training_id)
    if last_one <= number:
        return Found(wire.EventPage(events=[], next=number, more=False), number)
    # Not beyond the newest one: what comes while this looks may come in between two of the queries.
    rows = sight.rows(Q(id__gt=number, id__lte=last_one), "id", limit + 1)
    more, shown = len(rows) > limit, rows[:limit]
    last = shown[-1].id if shown else number
    page = wire.EventPage(events=[sight.record(row) for row in shown], next=last, more=more)
    return Found(page, last if more else last_one)


def before(user: User, training_id: UUID, wanted: Wanted, *, number: int, limit: int) -> wire.EventPage:
    """The last events before a number, oldest first. Raises as `after`."""
    sight = _sight(user, training_of(user, training_id), wanted)
    rows = sight.rows(Q(id__lt=number), "-id", limit + 1)
    shown = rows[:limit][::-1]
    last = shown[-1].id if shown else 0
    return wire.EventPage(events=[sight.record(row) for row in shown], next=last, more=len(rows) > limit)


@dataclass(frozen=True, slots=True)
class _Sight:
    """What somebody sees of a log."""

    steers: bool
    parts: Sequence[QuerySet[Event]]
    """Together all that is wanted and may be seen, without overlap: each is read along an index."""

    def rows(self, where: Q, order: str, count: int) -> list[Event]:
        """The first so many of all parts."""
        found = [
            row
            for part in self.parts
            for row in part.filter(where).select_related("participation__client").order_by(order)[:count]
        ]
        return sorted(found, key=lambda row: row.id, reverse=order.startswith("-"))[:count]

    def record(self, row: Event) -> wire.Event:
        """As it is shown, with its sentence."""
        client = None if row.participation is None else row.participation.client
        entirely = self.steers or client is not None
        event = wire.Event(
            id=row.id,
            at=row.at.isoformat(),
            kind=row.kind,
            text="",
            round=row.round,
            attempt=row.attempt,
            client=None if client is None else str(client.id),
            username=None if client is None else client.username,
            reason=row.reason if entirely else "",
            data=row.data if entirely else {name: row.data[name] for name in FOR_ALL & row.data.keys()},
        )
        return structs.replace(event, text=told(event))


def _sight(user: User, training: Training, wanted: Wanted) -> _Sight:
    steers = training.actor_id == user.id or user.is_superuser
    asked = Q() if wanted.round is None else Q(round=wanted.round)
    if wanted.kinds:
        asked &= Q(kind__in=wanted.kinds)
    of_training = Event.objects.filter(asked, training=training.id)
    if wanted.client:
        named = _participation(user, training, wanted.client)
        return _Sight(steers, [Event.objects.filter(asked, participation=named)])
    of_nobody = of_training.filter(participation=None)
    if steers:
        return _Sight(steers, [of_nobody if wanted.kinds and wanted.kinds <= OF_NO_CLIENT else of_training])
    own = Participation.objects.get(training=training.id, client=user)
    return _Sight(steers, [of_nobody, Event.objects.filter(asked, participation=own.id)])


def _participation(user: User, training: Training, name: str) -> int:
    """The participant of that id or name. Raises ValidationError for one that is none, or not the user's to ask for."""
    joined = Participation.objects.filter(training=training.id)
    if training.actor_id != user.id and not user.is_superuser:
        joined = joined.filter(client=user)
    named = Q(client__username=name)
    with suppress(ValueError):
        named |= Q(client=UUID(name))
    for found in joined.filter(named).values_list("id", flat=True):
        return found
    raise ValidationError({"client": [f"{name!r} is no participant of this training whose events are yours to see."]})
