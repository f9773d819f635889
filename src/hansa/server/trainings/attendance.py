"""Which participants are there: whom a round that begins now would find.

There is who waits for work, or works on a task, be it one of another training; who has asked for work or reported a
moment ago; and who is told of its tasks at an endpoint of its own. Who was lost is not, until it asks again, or, where
it is told and need not ask, until some minutes have passed: nothing but telling it shows whether it is back. Who has
asked is known in memory only: after a restart clients are there again as they ask.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet, UUIDField

from hansa.rounds.states import TaskState
from hansa.server.accounts import presence
from hansa.server.lifecycle.bridge import read
from hansa.server.prepared import Rows, Slot
from hansa.server.trainings.hints import HINTS
from hansa.server.trainings.models import Participation, Task, Training

MOMENT: Final = timedelta(seconds=90)
"""A little longer than an idle client's question for work waits, so that it is there from one to the next."""
TOLD_AGAIN: Final = timedelta(minutes=5)
"""After which a client with an endpoint that was lost is counted on once more."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a participant that may be selected is, as far as is known."""

    participation_id: int
    training_id: UUID
    at_work: bool
    """It holds a lease, of whatever training."""
    just_reported: bool
    asks: bool
    """It waits for work, or has asked for it a moment ago and was not lost since."""
    has_endpoint: bool
    """It is told of its tasks."""
    absent: bool
    """It was lost, and has not come since."""
    told_again_at: datetime | None
    """When one that is told and was lost these last minutes is counted on once more."""

    @property
    def there(self) -> bool:
        """A round that begins now would find it."""
        return self.at_work or (self.just_reported and not self.absent) or self.free or self.told_again

    @property
    def told_again(self) -> bool:
        """It is told, and was lost, but not these last minutes."""
        return self.has_endpoint and self.absent and self.told_again_at is None

    @property
    def free(self) -> bool:
        """It is there, and has nothing else to do."""
        return (self.asks or (self.has_endpoint and not self.absent)) and not self.at_work

    @property
    def expected(self) -> bool:
        """Nothing is known that keeps it from coming."""
        return self.free or not (self.absent or self.at_work)


def selectable() -> QuerySet[Participation]:
    """Those who may be selected for a round."""
    eligible = Participation.objects.filter(active=True, excluded="", client__is_active=True)
    return eligible.order_by("training_id", "ordinal")


def standings(participations: QuerySet[Participation], now: datetime) -> list[Standing]:
    """How these stand; with one query, however many they are."""
    held = Q(state=TaskState.LEASED.value, lease_until__gt=now)
    reported = Q(state=TaskState.REPORTED.value, reported_at__gt=now - MOMENT)
    tasks = Task.objects.filter(participation__client=OuterRef("client"))
    rows = participations.annotate(at_work=Exists(tasks.filter(held)), just_reported=Exists(tasks.filter(reported)))
    columns = ("id", "training_id", "at_work", "just_reported", "client_id", "client__message_endpoint", "absent")
    return [
        Standing(
            participation_id=row,
            training_id=training,
            at_work=works,
            just_reported=came,
            asks=_asks(client, now),
            has_endpoint=bool(endpoint),
            absent=absent,
            told_again_at=since + TOLD_AGAIN if endpoint and absent and since and since + TOLD_AGAIN > now else None,
        )
        for row, training, works, came, client, endpoint, absent, since in rows.values_list(*columns, "absent_since")
    ]


@dataclass(frozen=True, slots=True)
class Attendance:
    """Of one training."""

    there: int
    """How many of those who may be selected are there."""
    more_at: datetime | None
    """When the next one will be without doing anything, as far as is known."""


def there(trainings: Collection[UUID], now: datetime) -> dict[UUID, Attendance]:
    """By training; without those that have nobody who may be selected."""
    standing: dict[UUID, list[Standing]] = {}
    for each in standings(selectable().filter(training__in=trainings), now):
        standing.setdefault(each.training_id, []).append(each)
    return {training: _attendance(those) for training, those in standing.items()}


def _attendance(standing: Sequence[Standing]) -> Attendance:
    later = [each.told_again_at for each in standing if not each.there and each.told_again_at is not None]
    return Attendance(sum(each.there for each in standing), min(later, default=None))


async def arrived(user_id: UUID, now: datetime) -> None:
    """The client asks for work. If it was not there before, trainings that wait for clients look again."""
    known = _asks(user_id, now)
    presence.saw(user_id, now)
    if not known:
        for training_id in await read(_waiting_for, user_id):
            HINTS.moved(training_id)


def _asks(client: UUID, now: datetime) -> bool:
    return HINTS.has_waiter(client) or presence.seen_since(client, now - MOMENT)


def _waiting_for(user_id: UUID) -> list[UUID]:
    return [training_id for (training_id,) in _AWAITING(user=user_id)]


def _awaiting() -> QuerySet[Training, tuple[UUID]]:
    theirs = selectable().filter(client_id=Slot("user", UUIDField()), training=OuterRef("pk")).order_by()
    return Training.objects.filter(Exists(theirs), awaits_clients=True).values_list("id")


_AWAITING = Rows(_awaiting)
