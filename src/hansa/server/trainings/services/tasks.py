"""What a client does: lease a task, stay alive, upload, report, give back."""

import math
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from django.db import transaction
from django.db.models import BigIntegerField, CharField, DateTimeField, FloatField, JSONField, UUIDField
from django.utils import timezone

from hansa.protocol.errors import ErrorCode
from hansa.protocol.events import EventKind
from hansa.protocol.tasks import MAX_METRICS, Receipt, TaskKind, TaskReport, Verdict
from hansa.rounds.decide import LEASE_SECONDS
from hansa.rounds.states import TASK_MOVES, RoundState, TaskState, TrainingStatus, sources
from hansa.server.blobs import services as blobs
from hansa.server.blobs.digests import Digests
from hansa.server.changes import change
from hansa.server.lifecycle.context import note
from hansa.server.lifecycle.errors import ConflictError, InvalidError, NotFoundError
from hansa.server.measures import UPDATES_ACCEPTED, once_committed
from hansa.server.prepared import Added, Changed, Rows, Slot
from hansa.server.registry.models import MetricKind
from hansa.server.registry.services import record_metrics
from hansa.server.trainings import downloads, facts, summaries
from hansa.server.trainings.hints import HINTS
from hansa.server.trainings.models import Round, Task, Training, Update
from hansa.server.trainings.services import calibrating, conduct, eventlog, folding
from hansa.server.trainings.services.rounds import mark_absent, restart_clocks
from hansa.server.trainings.services.turns import take_turn, take_turn_at_task

OPEN_ROUND = facts.OPEN_ROUND


_PARTS = ("round__training", "participation", "uploaded")
_COLUMNS = (
    *("kind", "state", "reason", "progress", "reported_at", "uploaded_norm", "downloaded_at"),
    *(f"round__{name}" for name in ("number", "attempt", "state", "base", "version")),
    *(f"round__training__{name}" for name in ("status", "model", "rounds_done")),
    *(f"participation__{name}" for name in ("client", "active", "excluded", "num_examples", "failures")),
    "uploaded__size",
)
"""What is asked of a client's own task each time that the client comes. Anything else costs a query, and is seldom."""
_OWN = Rows(
    lambda: (
        Task.objects.filter(id=Slot("task", UUIDField()), participation__client_id=Slot("user", UUIDField()))
        .select_related(*_PARTS)
        .only("round", *_PARTS, *_COLUMNS)
    )
)
_TASK = partial(Task.objects.filter, id=Slot("task", UUIDField()))
_RENEW = Changed(
    lambda: _TASK(state__in=(TaskState.LEASED.value, TaskState.LOST.value)),
    state=TaskState.LEASED.value,
    lease_until=Slot("until", DateTimeField()),
    progress=Slot("progress", FloatField()),
    reason="",
)
_UPLOADED = Changed(
    _TASK,
    uploaded=Slot("blob", CharField()),
    uploaded_at=Slot("now", DateTimeField()),
    uploaded_norm=Slot("norm", FloatField()),
    lease_until=Slot("until", DateTimeField()),
    downloaded_at=Slot("downloaded", DateTimeField()),
)
_SAID = {
    "reported_at": Slot("now", DateTimeField()),
    "num_examples": Slot("num_examples", BigIntegerField()),
    "seconds": Slot("seconds", FloatField()),
    "metrics": Slot("metrics", JSONField()),
    "downloaded_at": Slot("downloaded", DateTimeField()),
}
_REPORTED = Changed(
    lambda: _TASK(state__in=[state.value for state in sources(TASK_MOVES, TaskState.REPORTED)]),
    state=TaskState.REPORTED.value,
    lease_until=None,
    reason="",
    **_SAID,
)
_REPORTED_LATE = Changed(_TASK, **_SAID)
_ACCEPT = Added(
    lambda: Update(  # type: ignore[misc]  # slots stand for ids
        task_id=Slot("task", UUIDField()),
        digest=Slot("digest", CharField()),
        size=Slot("size", BigIntegerField()),
        blob_id=Slot("digest", CharField()),
        base_id=Slot("base", BigIntegerField()),
        num_examples=Slot("num_examples", BigIntegerField()),
        norm=Slot("norm", FloatField()),
        received_at=Slot("now", DateTimeField()),
    )
)


def renew(*, task_id: UUID, user_id: UUID, now: datetime, progress: float | None = None) -> str:
    """Renew a lease, and note how far the client is. Returns "" to go on, or the reason to stop.

    A client that works on for a later round has no lease any more, and nobody waits for it.

    Raises NotFoundError for another's task.
    """
    with change("tasks.renew"):
        task = _own_task(task_id, user_id)
        if reason := _closed_reason(task):
            return reason
        if _is_late(task):
            if progress is not None:
                Task.objects.filter(id=task_id).update(progress=progress)
            return ""
        told = task.progress if progress is None else progress
        if not _RENEW(task=task_id, until=now + timedelta(seconds=LEASE_SECONDS), progress=told):
            return f"the task is {task.state}"
        if task.state == TaskState.LOST.value:
            eventlog.note_again(EventKind.TASK_LEASED, task)
        return ""


def record_upload(
    *, task_id: UUID, user_id: UUID, digests: Digests, norm: float, now: datetime, media_type: str = blobs.SAFETENSORS
) -> None:
    """The client's update is complete in the store: note it, and renew the lease."""
    with change("tasks.record_upload"):
        task = _own_task(task_id, user_id)
        require_open(task)
        blobs.see(digests=digests, media_type=media_type, now=now)
        until = None if _is_late(task) else now + timedelta(seconds=LEASE_SECONDS)
        downloaded = downloads.done_at(task_id, task.downloaded_at)
        _UPLOADED(task=task_id, blob=digests.sha256, now=now, norm=norm, until=until, downloaded=downloaded)


def report(*, task_id: UUID, user_id: UUID, report: TaskReport, now: datetime) -> Receipt:
    """The commit of a task: durable when this returns, and counted once however often it is sent.

    Raises ConflictError: `digest_conflict` if another digest was reported, `round_closed`, `task_closed`,
    `upload_incomplete`; InvalidError for values that cannot be used.
    """
    _check_values(report)
    with change("tasks.report"):
        task = _own_task(task_id, user_id)
        if was_reported(task):
            return _same_receipt(task, report)
        require_open(task)
        if task.kind == TaskKind.SWAG.value and report.metrics:
            raise InvalidError("Moments come without metrics: leave 'metrics' out.")
        if task.kind in facts.WITH_FILE:
            _accept_update(task, report, now)
        elif report.digest is not None:
            raise InvalidError(f"A task of the kind {task.kind} has no update: leave 'digest' out.")
        calibrating.note(task, report)
        _done(task, report, now)
        _record_metrics(task, report)
        once_committed(UPDATES_ACCEPTED.labels(task.kind))
        if _is_late(task) and task.round.state == RoundState.DONE.value:
            summaries.keep(task.round)
        _note(task, report)
        conduct.note_report(task, report.num_examples)
        training_id = task.round.training_id
        transaction.on_commit(lambda: HINTS.moved(training_id))
    return _receipt(task, report.digest, now)


def _note(task: Task, report: TaskReport) -> None:
    kind = EventKind.TASK_LATE if _is_late(task) else EventKind.TASK_REPORTED
    said: eventlog.Facts = {"examples": report.num_examples}
    if task.uploaded is not None:
        norm = task.uploaded_norm or 0.0
        said = {**said, "bytes": task.uploaded.size, "norm": norm if math.isfinite(norm) else None}  # JSON has no inf
    eventlog.note_task(kind, task, data=said)


def was_reported(task: Task) -> bool:
    """Whether its report was accepted, in time or late."""
    return task.state == TaskState.REPORTED.value or (_is_late(task) and Update.objects.filter(task=task).exists())


def _is_late(task: Task) -> bool:
    """Its round went on without it: if anything comes of it, it counts in a later one. See `folding`."""
    return task.state == TaskState.CLOSED.value


def _done(task: Task, report: TaskReport, now: datetime) -> None:
    """To REPORTED, with what the client said. A late task stays CLOSED, with the reason why its round went on."""
    said = {
        "now": now,
        "num_examples": report.num_examples,
        "seconds": report.seconds,
        "metrics": report.metrics,
        "downloaded": downloads.done_at(task.id, task.downloaded_at),
    }
    if _is_late(task):
        _REPORTED_LATE(task=task.id, **said)
    elif not _REPORTED(task=task.id, **said):
        raise ConflictError(f"The task is {task.state}; lease it before reporting.", ErrorCode.TASK_CLOSED)


def _receipt(task: Task, digest: str | None, received_at: datetime | None) -> Receipt:
    return Receipt(
        task=str(task.id),
        verdict=Verdict.ACCEPTED,
        digest=digest,
        received_at=received_at.isoformat() if received_at else "",
        late=_is_late(task),
    )


def give_back(*, task_id: UUID, user_id: UUID, reason: str, failed: bool) -> None:
    """The client cannot do the task (`failed`), or not now. Harmless if the task is no longer its own to do."""
    with change("tasks.give_back"):
        task = _own_task(task_id, user_id)
        target = TaskState.FAILED if failed else TaskState.LOST
        held = Task.objects.filter(id=task_id, state=TaskState.LEASED.value)
        if not failed:
            mark_absent(held, timezone.now())
        if held.update(state=target.value, reason=reason, lease_until=None):
            eventlog.note_again(EventKind.TASK_FAILED if failed else EventKind.TASK_LOST, task, reason=reason)
            if failed:
                conduct.note_failed(Task.objects.filter(id=task_id))
            training_id = task.round.training_id
            transaction.on_commit(lambda: HINTS.moved(training_id))


def require_open(task: Task) -> None:
    """Raise ConflictError unless the task may still be worked on by its client, be it for a later round."""
    if reason := _closed_reason(task):
        code = ErrorCode.TASK_CLOSED if _round_is_open(task) else ErrorCode.ROUND_CLOSED
        raise ConflictError(f"{reason[0].upper()}{reason[1:]}. Ask for the next task.", code)
    if task.state == TaskState.OFFERED.value:
        raise ConflictError("The task was not leased. Ask for it by POST /api/tasks/next/.", ErrorCode.WRONG_STATE)


def _closed_reason(task: Task) -> str:
    number = task.round.number
    if task.round.training.status not in (TrainingStatus.ONGOING.value, TrainingStatus.PAUSED.value):
        return f"the training is {task.round.training.status}"
    if not _round_is_open(task):
        return "" if folding.takes(task) else f"round {number} has closed ({task.round.state})"
    if task.state in (TaskState.CLOSED.value, TaskState.FAILED.value, TaskState.REPORTED.value):
        return f"the task is {task.state}" + (f": {task.reason}" if task.reason else "")
    return ""


def _round_is_open(task: Task) -> bool:
    return task.round.state == OPEN_ROUND[TaskKind(task.kind)].value


def _own_task(task_id: UUID, user_id: UUID) -> Task:
    take_turn_at_task(task_id)
    task = _OWN.first(task=task_id, user=user_id)
    if task is None:
        raise NotFoundError(f"There is no task {task_id}, or it is not yours.")
    note(training=task.round.training_id, round=task.round.number)
    return task


def _check_values(report: TaskReport) -> None:
    if len(report.metrics) > MAX_METRICS:
        raise InvalidError(f"{len(report.metrics)} metrics were reported; at most {MAX_METRICS} are kept.")
    for key, value in report.metrics.items():
        if not math.isfinite(value):
            raise InvalidError(
                f"Metric {key!r} is {value}; metrics must be finite. Leave it out.", ErrorCode.NOT_FINITE
            )


def _same_receipt(task: Task, report: TaskReport) -> Receipt:
    update = Update.objects.filter(task=task).first()
    known = update.digest if update is not None else None
    if known != report.digest:
        raise ConflictError(
            f"This task was reported already with update {known}; {report.digest} does not replace it. The first "
            "report counts.",
            ErrorCode.DIGEST_CONFLICT,
        )
    return _receipt(task, known, task.reported_at)


def _accept_update(task: Task, report: TaskReport, now: datetime) -> None:
    blob = task.uploaded
    if report.digest is None:
        raise InvalidError(f"A {task.kind} task is reported with the digest of its update: 'digest' is missing.")
    if blob is None or blob.sha256 != report.digest:
        held = f"update {blob.sha256}" if blob is not None else "no update"
        raise ConflictError(
            f"The server holds {held} of you for this task, not {report.digest}. Upload that first: "
            f"PUT /api/tasks/{task.id}/update/{report.digest}/.",
            ErrorCode.UPLOAD_INCOMPLETE,
        )
    made = task.round.version_id if task.kind == TaskKind.SWAG.value else None
    _ACCEPT(
        task=task.id,
        digest=blob.sha256,
        size=blob.size,
        base=task.round.base_id if made is None else made,
        num_examples=report.num_examples,
        norm=task.uploaded_norm or 0.0,
        now=now,
    )


def _record_metrics(task: Task, report: TaskReport) -> None:
    if not report.metrics:
        return
    training = task.round.training
    record_metrics(
        model_id=training.model_id,
        reporter_id=task.participation.client_id,
        kind=MetricKind.TRAIN if task.kind == TaskKind.TRAIN.value else MetricKind.EVALUATE,
        step=task.round.number,
        num_examples=report.num_examples,
        values=report.metrics,
    )


def forgive_downtime(*, now: datetime) -> int:
    """After a restart: the server was away, not the clients. Every lease begins anew; the number of leases."""
    with change("tasks.forgive_downtime"):
        take_turn(Training.objects.all())
        restart_clocks(Round.objects.all(), now)
        until = now + timedelta(seconds=LEASE_SECONDS)
        # Push clients' leases are longer, and stay as they are.
        return Task.objects.filter(state=TaskState.LEASED.value, lease_until__lt=until).update(lease_until=until)
