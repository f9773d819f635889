"""The event log is written here, by the services and in their transactions: what is rolled back has left no event.

Readers go on behind the last number that they have (`trainings.events`), so within a training numbers must be committed
in their order. SQLite has one writer. On PostgreSQL a number is drawn when its row is written: whoever notes an event
has taken its turn at the training (`turns`) before, and keeps it until it has committed. Only who makes a training
notes its first events without: nobody can see it yet.

The time is the clock's, not a service's `now`: when it was written down.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from uuid import UUID

from django.db.models import BigIntegerField, CharField, DateTimeField, IntegerField, JSONField, QuerySet, UUIDField
from django.utils import timezone

from hansa.protocol.events import EventKind
from hansa.server.prepared import Added, Slot
from hansa.server.trainings.models import Event, Round, Task

Facts = Mapping[str, str | int | float | None]
"""Numbers of an event, and what else programs look at; never another client's."""
NONE: Facts = MappingProxyType({})
LONGEST_REASON = 500
MOST_REPEATED = 10
"""So many events of a kind that a client brings about at will are kept of an attempt at a round; then the last counts
the rest. Nobody fills the disk by taking a task and giving it back, or by sending garbage."""

_NOTED = Added(
    lambda: Event(  # type: ignore[misc]  # slots stand for ids
        training_id=Slot("training", UUIDField()),
        participation_id=Slot("participation", BigIntegerField()),
        at=Slot("at", DateTimeField()),
        kind=Slot("kind", CharField()),
        round=Slot("round", IntegerField()),
        attempt=Slot("attempt", IntegerField()),
        reason=Slot("reason", CharField()),
        data=Slot("data", JSONField()),
    )
)


def note(
    kind: EventKind,
    *,
    training: UUID,
    round: tuple[int, int] | None = None,  # noqa: A002  # the field's word
    participation: int | None = None,
    reason: str = "",
    data: Facts = NONE,
) -> None:
    """Something has happened. `round`: its number and attempt. To be called in the change that makes it so."""
    number, attempt = round or (None, None)
    _NOTED(
        training=training,
        participation=participation,
        at=timezone.now(),
        kind=kind.value,
        round=number,
        attempt=attempt,
        reason=reason[:LONGEST_REASON],
        data=dict(data),
    )


def note_round(kind: EventKind, of: Round, *, reason: str = "", data: Facts = NONE) -> None:
    """Something has happened to a round."""
    note(kind, training=of.training_id, round=(of.number, of.attempt), reason=reason, data=data)


def note_task(kind: EventKind, task: Task, *, reason: str = "", data: Facts = NONE) -> None:
    """Something has happened to a client's task, whose round is at hand."""
    of = task.round
    note(
        kind,
        training=of.training_id,
        round=(of.number, of.attempt),
        participation=task.participation_id,
        reason=reason,
        data={"task": task.kind, **data},
    )


def note_participants(kind: EventKind, training: UUID, participations: Iterable[int], *, reason: str = "") -> None:
    """The same has happened to each of these participants, outside any round."""
    events = [
        Event(training_id=training, participation_id=each, at=timezone.now(), kind=kind.value, reason=reason)
        for each in participations
    ]
    Event.objects.bulk_create(events, batch_size=500)


def note_tasks(kind: EventKind, tasks: QuerySet[Task], *, reason: str) -> None:
    """The same is about to happen to each of these tasks: to be called while the query still finds them."""
    columns = ("round__training_id", "participation_id", "round__number", "round__attempt", "kind")
    rows = tasks.order_by("participation__ordinal").values_list(*columns)
    events = [
        Event(
            training_id=training,
            participation_id=participation,
            at=timezone.now(),
            kind=kind.value,
            round=number,
            attempt=attempt,
            reason=reason[:LONGEST_REASON],
            data={"task": task},
        )
        for training, participation, number, attempt, task in rows
    ]
    Event.objects.bulk_create(events, batch_size=500)


def note_again(kind: EventKind, task: Task, *, reason: str = "", data: Facts = NONE) -> None:
    """Something has happened that the task's client can bring about as often as it likes: see MOST_REPEATED."""
    of = task.round
    same = Event.objects.filter(
        participation=task.participation_id, kind=kind.value, round=of.number, attempt=of.attempt
    )
    kept = list(same.order_by("-id")[:MOST_REPEATED])
    if len(kept) < MOST_REPEATED:
        note_task(kind, task, reason=reason, data=data)
        return
    last = kept[0]
    last.data = {**last.data, "times": last.data.get("times", 1) + 1}
    last.save(update_fields=["data"])
