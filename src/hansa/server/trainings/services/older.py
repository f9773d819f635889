"""What older clients send, as changes of rows: leased, uploaded and reported in one transaction.

They know nothing of leases and reports: who sends the result of a task has done it. Sent twice, late, for a round that
is gone, by a client that was not asked: each is an ordinary case with its own answer.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from hansa.protocol.errors import ErrorCode
from hansa.protocol.events import EventKind
from hansa.protocol.tasks import TaskKind, TaskReport
from hansa.rounds.decide import LEASE_SECONDS
from hansa.rounds.states import LIVE_ROUND_STATES, TASK_MOVES, TaskState, TrainingStatus, sources
from hansa.server.accounts.models import User
from hansa.server.blobs.digests import Digests
from hansa.server.changes import change
from hansa.server.lifecycle.errors import ConflictError, NotFoundError, ServiceError
from hansa.server.registry.metrics import Values
from hansa.server.registry.models import MetricKind
from hansa.server.registry.services import check_room, record_metrics, record_posted_metrics
from hansa.server.trainings import facts
from hansa.server.trainings.hints import HINTS
from hansa.server.trainings.models import Participation, Round, Task, Training, Update
from hansa.server.trainings.older_places import Place
from hansa.server.trainings.services import eventlog, folding, tasks
from hansa.server.trainings.services.turns import take_turn, take_turn_at

RUNNING = frozenset({TrainingStatus.ONGOING.value, TrainingStatus.PAUSED.value})
"""While a training is paused, work in progress may still come."""

OPEN_TASKS = frozenset({TaskState.OFFERED.value, TaskState.LEASED.value, TaskState.LOST.value})
"""For these a result may come: also from a client that was given up, or has not yet been told."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What a client says that it sends, in which bytes."""

    kind: TaskKind
    round: int
    """As older clients count."""
    digest: str
    """SHA-256 of the bytes as they came."""
    num_examples: int
    metrics: Values = field(default_factory=dict)


def awaited(*, place: Place, sent: Sent) -> Task | None:
    """The task that this is the result of, be its round over if the plan folds late updates; None if these very bytes
    were accepted before, be their round long over.

    Raises ConflictError: `digest_conflict` where other bytes were accepted, `round_closed`, `task_closed`, and
    `wrong_state` where the training does not run, or its round has not asked this client.
    """
    attempts = _attempts(place, sent)
    live = next((task for task in attempts if task.round.state == facts.OPEN_ROUND[sent.kind].value), None)
    if live is None:
        if any(_digest_of(task) == sent.digest for task in attempts):
            return None
        late = next(filter(folding.takes, attempts), None)
        if late is not None:
            return late
        raise _not_now(place, sent)
    if live.state == TaskState.REPORTED.value:
        if _digest_of(live) == sent.digest:
            return None
        raise ConflictError(
            f"Other bytes than these (SHA-256 {sent.digest}) were accepted from you in round {sent.round}. The first "
            "count; wait for the next notification.",
            ErrorCode.DIGEST_CONFLICT,
        )
    if live.round.training.status not in RUNNING:
        raise _not_now(place, sent)
    if live.state not in OPEN_TASKS:
        reason = f" ({live.reason})" if live.reason else ""
        raise ConflictError(
            f"Your task in round {sent.round} is {live.state}{reason}. Wait for the next notification.",
            ErrorCode.TASK_CLOSED,
        )
    return live


def accept(*, place: Place, sent: Sent, checked_for: UUID, digests: Digests, norm: float, now: datetime) -> Task | None:
    """Lease the task if its client has not, note the upload, report it: durable when this returns None.

    If the result is by now that of another task than it was `checked_for` (of a new attempt at the round, which may
    begin from other params) nothing is changed, and that one returned. Bytes that were accepted before, or a moment
    ago, count once. Raises ConflictError as `awaited`.
    """
    with change("older.accept"):
        take_turn_at(place.training_id)
        task = awaited(place=place, sent=sent)
        if task is None or task.id != checked_for:
            return task
        lease(task, now)
        tasks.record_upload(task_id=task.id, user_id=place.user_id, digests=digests, norm=norm, now=now)
        _report(task, sent.num_examples, sent.metrics, digests.sha256, now)
        Update.objects.filter(task=task).update(source_digest=sent.digest)
    return None


def accept_metrics(*, user_id: UUID, model_id: UUID, values: Values, num_examples: int, now: datetime) -> None:
    """Metrics that somebody posts for a model: the result of its evaluation, if its round asks this client for one.

    Posted again they are added to what was reported, or replace it; at any other time they are only recorded. To be
    called for a user who may post metrics of the model. Raises ServiceError for too many in all.
    """
    with change("older.accept_metrics"):
        take_turn(Training.objects.filter(model_id=model_id))
        task = _evaluation(user_id, model_id)
        if task is None:
            record_posted_metrics(model_id=model_id, reporter_id=user_id, values=values, num_examples=num_examples)
            return
        check_room(model_id=model_id, reporter_id=user_id, step=task.round.number, names=values)
        if task.state == TaskState.REPORTED.value:
            _amend(task, values)
        else:
            lease(task, now)
            _report(task, num_examples, values, None, now)


def _evaluation(user_id: UUID, model_id: UUID) -> Task | None:
    """The user's own evaluation in the round that is being evaluated now, reported or not."""
    found = Task.objects.filter(
        kind=TaskKind.EVALUATE.value,
        state__in=OPEN_TASKS | {TaskState.REPORTED.value},
        participation__client_id=user_id,
        participation__active=True,
        round__state=facts.OPEN_ROUND[TaskKind.EVALUATE].value,
        round__training__model_id=model_id,
        round__training__status__in=RUNNING,
    )
    return found.select_related("round__training", "participation").first()


def _report(task: Task, num_examples: int, values: Values, digest: str | None, now: datetime) -> None:
    """Report the task with its numbers, and record the texts beside them. To be called inside a transaction."""
    numbers = {key: value for key, value in values.items() if isinstance(value, float)}
    report = TaskReport(num_examples=num_examples, digest=digest, metrics=numbers)
    tasks.report(task_id=task.id, user_id=task.participation.client_id, report=report, now=now)
    _record(task, num_examples, {key: value for key, value in values.items() if key not in numbers})


def _amend(task: Task, values: Values) -> None:
    """More of an evaluation that was reported, or other values of the same names."""
    numbers = {key: value for key, value in values.items() if isinstance(value, float)}
    kept = {key: value for key, value in task.metrics.items() if key not in values}
    Task.objects.filter(id=task.id).update(metrics={**kept, **numbers})
    _record(task, task.num_examples or 1, values)
    training_id = task.round.training_id
    transaction.on_commit(lambda: HINTS.moved(training_id))


def _record(task: Task, num_examples: int, values: Values) -> None:
    record_metrics(
        model_id=task.round.training.model_id,
        reporter_id=task.participation.client_id,
        kind=MetricKind.TRAIN if task.kind == TaskKind.TRAIN.value else MetricKind.EVALUATE,
        step=task.round.number,
        num_examples=num_examples,
        values=values,
    )


def lease(task: Task, now: datetime) -> None:
    """The client works on it, as its result shows. To be called inside a transaction, in one's turn."""
    free = Task.objects.filter(id=task.id, state__in=[state.value for state in sources(TASK_MOVES, TaskState.LEASED)])
    taken = free.update(
        state=TaskState.LEASED.value,
        lease_until=now + timedelta(seconds=LEASE_SECONDS),
        leased_at=task.leased_at or now,
        reason="",
    )
    if taken and task.state != TaskState.LEASED.value:
        eventlog.note_task(EventKind.TASK_LEASED, task)
    Participation.objects.filter(id=task.participation_id, absent=True).update(absent=False)
    User.objects.filter(id=task.participation.client_id).update(last_seen=now)


def _attempts(place: Place, sent: Sent) -> list[Task]:
    """The client's tasks of this kind in all attempts at the round, the newest first."""
    found = Task.objects.filter(
        kind=sent.kind.value,
        participation__client_id=place.user_id,
        round__training_id=place.training_id,
        round__number=place.number(sent.kind, sent.round),
    )
    return list(found.select_related("round__training", "participation", "update").order_by("-round__attempt"))


def _digest_of(task: Task) -> str | None:
    """Of the bytes that were accepted for a task, as they came."""
    update = getattr(task, "update", None)
    return None if update is None else update.source_digest or update.digest


def _not_now(place: Place, sent: Sent) -> ServiceError:
    """Why nothing is taken for this round now."""
    training = Training.objects.filter(id=place.training_id).first()
    if training is None:
        return NotFoundError(f"There is no training {place.training_id} any more.")
    if training.status not in RUNNING:
        return ConflictError(f"Training {training.id} is {training.status}; it takes nothing in.")
    states = [state.value for state in LIVE_ROUND_STATES]
    live = Round.objects.filter(training=training, state__in=states).first()
    if live is None:
        return ConflictError(
            f"Training {training.id} is between two rounds. Wait for its next notification.", ErrorCode.ROUND_CLOSED
        )
    current = place.contract_round(live.number, live.state)
    if live.number == place.number(sent.kind, sent.round) and live.state == facts.OPEN_ROUND[sent.kind].value:
        return ConflictError(f"You were not selected for round {current}. Wait for the next notification.")
    wanted = "updates" if sent.kind is TaskKind.TRAIN else "moments"
    return ConflictError(
        f"Training {training.id} takes no {wanted} for round {sent.round}: it is in round {current}, {live.state}. "
        "Drop them, and wait for its next notification.",
        ErrorCode.ROUND_CLOSED,
    )
