"""What comes of telling a client of its task: it is at work, it is out, or it is gone.

    delivered     OFFERED → LEASED until the plan's deadline, or for an hour: push clients send no heartbeats
    rejected      the client is removed from the training; of a SWAG task: only that task has failed, since clients
                  that know of no SWAG refuse it and train well all the same
    unreachable   OFFERED → LOST; later rounds tell it again, and do not wait for it
    pending       the task says why its client has not been told yet
    dropped       we may not send to it, or have nowhere to: the task stays on offer and says so; it may be pulled

A task that its client has pulled or reported meanwhile stays as it is. What comes of messages that tell of no task
(TRAINING_START, TRAINING_FINISHED) changes nothing.
"""

import logging
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet

from hansa.protocol.events import EventKind
from hansa.protocol.tasks import TaskKind
from hansa.rounds.states import TaskState
from hansa.server.accounts.models import User
from hansa.server.changes import change
from hansa.server.notifications import services as outbox
from hansa.server.notifications.models import State
from hansa.server.notifications.outcomes import Outcome
from hansa.server.trainings.hints import HINTS
from hansa.server.trainings.models import Participation, Task
from hansa.server.trainings.services import eventlog
from hansa.server.trainings.services.push import ON_OFFER
from hansa.server.trainings.services.rounds import mark_absent
from hansa.server.trainings.services.trainings import remove_clients
from hansa.server.trainings.services.turns import take_turn_at
from hansa.server.trainings.telling import NOT_TOLD

log = logging.getLogger(__name__)

PUSH_INSTANCE = "push"
"""The name under which a push client holds its tasks."""
PUSH_LEASE_SECONDS = 3600.0
"""How long a push client is waited for where the plan has no deadline."""


def take(outcome: Outcome, now: datetime) -> None:
    """Write down what came of a message, and what follows for its task: both, or neither."""
    with change("deliveries.take"):
        take_turn_at(outcome.queue)
        told = outbox.record(outcome=outcome, now=now)
        if told is None or told.subject is None:
            return
        rows = Task.objects.filter(ON_OFFER, id=told.subject)
        task = rows.select_related("round__training", "participation__client").first()
        if task is None:
            return
        match outcome.state:
            case State.DELIVERED:
                _lease(task, now)
            case State.REJECTED if task.kind == TaskKind.SWAG.value:
                _fail(task, outcome.reason)
            case State.REJECTED:
                _remove(task, outcome.reason)
            case State.UNREACHABLE:
                _lose(task, outcome.reason, now)
            case State.PENDING:
                _offered(task).update(reason=_because("not told yet", outcome.reason))
            case State.DROPPED:
                _leave_on_offer(task, outcome.reason)
        training_id = outcome.queue
        transaction.on_commit(lambda: HINTS.moved(training_id))


def _lease(task: Task, now: datetime) -> None:
    seconds = task.round.training.parsed_plan.closing.deadline_seconds or PUSH_LEASE_SECONDS
    eventlog.note_task(EventKind.TASK_LEASED, task)
    Task.objects.filter(ON_OFFER, id=task.id).update(
        state=TaskState.LEASED.value,
        instance=PUSH_INSTANCE,
        lease_until=now + timedelta(seconds=seconds),
        leased_at=now,
        reason="",
    )
    Participation.objects.filter(id=task.participation_id, absent=True).update(absent=False)
    User.objects.filter(id=task.participation.client_id).update(last_seen=now)


def _remove(task: Task, reason: str) -> None:
    client = task.participation.client
    _log(task, "is removed: it rejected what it was told")
    removed = _because("the client was removed from the training", reason)
    remove_clients(training_id=task.round.training_id, clients=[client], reason=removed)


def _fail(task: Task, reason: str) -> None:
    _log(task, "gives no moments")
    refused = _because("the client refused to give moments", reason)
    Task.objects.filter(ON_OFFER, id=task.id).update(state=TaskState.FAILED.value, reason=refused)
    eventlog.note_task(EventKind.TASK_FAILED, task, reason=refused)


def _lose(task: Task, reason: str, now: datetime) -> None:
    _log(task, "cannot be told")
    mark_absent(_offered(task), now)
    untold = _because("the client could not be told", reason)
    if _offered(task).update(state=TaskState.LOST.value, reason=untold):
        eventlog.note_task(EventKind.TASK_LOST, task, reason=untold)


def _leave_on_offer(task: Task, reason: str) -> None:
    _log(task, "is not told")
    _offered(task).update(reason=_because(NOT_TOLD, reason))


def _log(task: Task, what: str) -> None:
    """By its id, and without the reason, which names its endpoint: that is in the task's record."""
    log.warning("Training %s: client %s %s.", task.round.training_id, task.participation.client_id, what)


def _offered(task: Task) -> QuerySet[Task]:
    return Task.objects.filter(id=task.id, state=TaskState.OFFERED.value)


def _because(what: str, why: str) -> str:
    return f"{what}: {why}"[:500]
