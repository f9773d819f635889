"""Which participants are there: whom a round that begins now would find.

There is who waits for work, has asked for it or reported a moment ago, or works on a task, be it one of another
training; and who is told of its tasks at an endpoint of its own, unless it was lost and has not come since. Who has
asked is known in memory only: after a restart clients are there again as they ask.
"""

from collections import Counter
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet

from hansa.rounds.states import TaskState
from hansa.server.accounts import presence
from hansa.server.lifecycle.bridge import read
from hansa.server.trainings.hints import HINTS
from hansa.server.trainings.models import Participation, Task, Training

MOMENT: Final = timedelta(seconds=90)
"""A little longer than an idle client's question for work waits, so that it is there from one to the next."""


def selectable() -> QuerySet[Participation]:
    """Those who may be selected for a round."""
    return Participation.objects.filter(active=True, excluded="").order_by("training_id", "ordinal")


def there(trainings: Collection[UUID], now: datetime) -> dict[UUID, int]:
    """How many of those who may be selected are there, by training."""
    at_work = Q(state=TaskState.LEASED.value, lease_until__gt=now)
    just_reported = Q(state=TaskState.REPORTED.value, reported_at__gt=now - MOMENT)
    working = Task.objects.filter(at_work | just_reported, participation__client=OuterRef("client"))
    rows = selectable().filter(training__in=trainings, client__is_active=True).annotate(working=Exists(working))
    columns = ("training_id", "client_id", "working", "absent", "client__message_endpoint")
    return Counter(
        training_id
        for training_id, client, works, absent, endpoint in rows.values_list(*columns)
        if works or (endpoint and not absent) or _asks(client, now)
    )


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
    theirs = selectable().filter(client_id=user_id, training=OuterRef("pk")).order_by()
    return list(Training.objects.filter(Exists(theirs), awaits_clients=True).values_list("id", flat=True))
