"""Who asks for work is given the oldest task that it may take; many who ask at once, in one transaction."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from functools import partial
from typing import Final, NamedTuple
from uuid import UUID

from django.db import connection, transaction
from django.db.models import CharField, DateTimeField, Q, QuerySet, UUIDField

from hansa.protocol import PROTOCOL_VERSION
from hansa.protocol.events import EventKind
from hansa.protocol.tasks import TaskKind
from hansa.rounds.decide import LEASE_SECONDS
from hansa.rounds.states import TASK_MOVES, TaskState, TrainingStatus, sources
from hansa.server.accounts.models import User
from hansa.server.changes import change
from hansa.server.prepared import Changed, Rows, Slot
from hansa.server.trainings import facts
from hansa.server.trainings.hints import HINTS
from hansa.server.trainings.models import Participation, Task, Training
from hansa.server.trainings.services import eventlog
from hansa.server.trainings.services.calibrating import CALIBRATION_PROTOCOL
from hansa.server.trainings.services.turns import take_turn


@dataclass(frozen=True, slots=True)
class Ask:
    """Who asks for work, and with which of its state folders."""

    user_id: UUID
    instance: str
    protocol: int = PROTOCOL_VERSION
    """What it speaks."""


class _Found(NamedTuple):
    """A task that somebody may take."""

    task_id: UUID
    training_id: UUID
    participation_id: int
    absent: bool
    instance: str
    leased_at: datetime | None
    state: str
    kind: str
    round: int
    attempt: int


class _Missed(Enum):
    """There is a task, but it is in a training whose turn was not taken: what was found before is gone."""

    MISSED = auto()


_MISSED: Final = _Missed.MISSED


def leasable() -> QuerySet[Task]:
    """Tasks that an instance of a client may take now: offers, tasks it was given up on, and its own leases.

    Another instance's lease is left alone until it ends: two processes with one token do not do one task twice.
    """
    in_phase = Q()
    for kind, state in facts.OPEN_ROUND.items():
        in_phase |= Q(kind=kind.value, round__state=state.value)
    takeable = Q(state__in=(TaskState.OFFERED.value, TaskState.LOST.value))
    own = Q(state=TaskState.LEASED.value, instance=Slot("instance", CharField()))
    return (
        Task.objects.filter(in_phase, takeable | own)
        .filter(
            participation__client_id=Slot("user", UUIDField()),
            participation__active=True,
            participation__client__is_active=True,
            round__training__status=TrainingStatus.ONGOING.value,
        )
        .order_by("round__opened_at", "id")
    )


_OLDEST = Rows(
    lambda: leasable().values_list(
        *("id", "round__training_id", "participation_id", "participation__absent", "instance", "leased_at"),
        *("state", "kind", "round__number", "round__attempt"),
    )[:1]
)
_LEASE = Changed(
    lambda: Task.objects.filter(
        id=Slot("task", UUIDField()), state__in=[state.value for state in sources(TASK_MOVES, TaskState.LEASED)]
    ),
    state=TaskState.LEASED.value,
    instance=Slot("instance", CharField()),
    lease_until=Slot("until", DateTimeField()),
    leased_at=Slot("since", DateTimeField()),
    reason="",
)
_SEEN = Changed(lambda: User.objects.filter(id=Slot("user", UUIDField())), last_seen=Slot("now", DateTimeField()))


def lease(asks: Sequence[Ask], *, now: datetime) -> list[UUID | None]:
    """For each the task that it has from now on; None if there is none for it."""
    given = _lease(asks, now)
    missed = [place for place, it in enumerate(given) if it is _MISSED]
    if missed:  # in a change of its own: who waits for further turns while it has some may wait for ever
        for place, it in zip(missed, _lease([asks[place] for place in missed], now), strict=True):
            given[place] = it
    return [it.task_id if isinstance(it, _Found) else None for it in given]


def _lease(asks: Sequence[Ask], now: datetime) -> list[_Found | _Missed | None]:
    with change("tasks.lease_next"):
        turns = _take_turns(asks)
        given = [_leased(ask, turns, now) for ask in asks]
        for training_id in {it.training_id for it in given if isinstance(it, _Found)}:
            transaction.on_commit(partial(HINTS.moved, training_id))
    return given


def lease_next(*, user_id: UUID, instance: str, now: datetime) -> Task | None:
    """Lease the oldest task that this client may take; None if there is none."""
    (leased,) = lease([Ask(user_id, instance)], now=now)
    return None if leased is None else Task.objects.get(id=leased)


def _take_turns(asks: Sequence[Ask]) -> Collection[UUID] | None:
    """Take the turns at the trainings whose tasks are going to be found; which those are. None: none need be taken."""
    if not connection.features.has_select_for_update:
        return None
    trainings = {it.training_id for it in map(_oldest, asks) if it is not None}
    take_turn(Training.objects.filter(id__in=trainings))
    return trainings


def _oldest(ask: Ask) -> _Found | None:
    row = _OLDEST.first(user=ask.user_id, instance=ask.instance)
    return None if row is None else _Found(*row)


def _leased(ask: Ask, turns: Collection[UUID] | None, now: datetime) -> _Found | _Missed | None:
    """What it was given. Found anew: others had their turn before us, or asked in the same name in this batch."""
    found = _oldest(ask)
    if found is None:
        return None
    if turns is not None and found.training_id not in turns:
        return _MISSED
    if found.kind == TaskKind.CALIBRATE.value and ask.protocol < CALIBRATION_PROTOCOL:
        _pass_over(found, ask)
        return _leased(ask, turns, now)
    since = found.leased_at if found.instance == ask.instance and found.leased_at else now
    until = now + timedelta(seconds=LEASE_SECONDS)
    if not _LEASE(task=found.task_id, instance=ask.instance, until=until, since=since):
        return None
    if found.absent:
        Participation.objects.filter(id=found.participation_id).update(absent=False)
    _SEEN(user=ask.user_id, now=now)
    _note(found)
    return found


def _pass_over(found: _Found, ask: Ask) -> None:
    """The client does not know what is asked of it: it is not told, and nobody waits for it."""
    reason = f"its client speaks version {ask.protocol} of the protocol, and calibrating needs {CALIBRATION_PROTOCOL}"
    allowed = [state.value for state in sources(TASK_MOVES, TaskState.FAILED)]
    passed = Task.objects.filter(id=found.task_id, state__in=allowed)
    passed.update(state=TaskState.FAILED.value, reason=reason, lease_until=None)
    task = Task.objects.select_related("round").get(id=found.task_id)
    eventlog.note_again(EventKind.TASK_FAILED, task, reason=reason)
    transaction.on_commit(partial(HINTS.moved, found.training_id))


def _note(found: _Found) -> None:
    """Who asks again for what it holds, as after a restart, has not taken anything."""
    if found.leased_at is None:
        eventlog.note(
            EventKind.TASK_LEASED,
            training=found.training_id,
            round=(found.round, found.attempt),
            participation=found.participation_id,
            data={"task": found.kind},
        )
    elif found.state != TaskState.LEASED.value:
        eventlog.note_again(EventKind.TASK_LEASED, Task.objects.select_related("round").get(id=found.task_id))
