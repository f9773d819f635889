"""Reads of trainings, each with its permission filter.

A training may be seen by its actor, its active participants, and superusers; it may be steered by its actor. To
everybody else there is no such training.
"""

from collections.abc import Mapping
from uuid import UUID

import msgspec
from django.db.models import Count, Exists, Max, OuterRef, Q, QuerySet, Sum
from django.utils import timezone

from hansa.protocol import trainings as wire
from hansa.protocol.tasks import TaskKind
from hansa.rounds.states import LIVE_ROUND_STATES, TaskState, TrainingStatus
from hansa.server.accounts.models import User
from hansa.server.lifecycle.errors import ForbiddenError, NotFoundError
from hansa.server.trainings import latecomers, summaries
from hansa.server.trainings.facts import LISTS
from hansa.server.trainings.models import Participation, Round, Task, Training
from hansa.server.trainings.records import MOVING, detail, records


def visible(user: User) -> QuerySet[Training]:
    """The trainings the user may see, oldest first."""
    trainings = Training.objects.order_by("created_at", "id")
    if user.is_superuser:
        return trainings
    taking_part = Participation.objects.filter(training=OuterRef("pk"), client=user, active=True)
    return trainings.filter(Q(actor=user) | Exists(taking_part))


def training_of(user: User, training_id: UUID) -> Training:
    """One training. Raises NotFoundError for one that is unknown or not the user's to see."""
    training = visible(user).select_related("model").filter(id=training_id).first()
    if training is None:
        raise _unknown(training_id)
    return training


def steered_training(user: User, training_id: UUID) -> Training:
    """A training the user may change. Raises ForbiddenError if it may only be seen."""
    training = training_of(user, training_id)
    if training.actor_id != user.id and not user.is_superuser:
        raise ForbiddenError("Only the actor of the training may do this. Its record names them: ask them to.")
    return training


def record(user: User, training_id: UUID) -> wire.TrainingDetail:
    """One training, with the reason why it is where it is. Raises NotFoundError as `training_of`."""
    found = detail(visible(user).filter(id=training_id), user, timezone.now())
    if found is None:
        raise _unknown(training_id)
    return found


def steered(user: User) -> list[wire.Training]:
    """The trainings whose actor the user is."""
    return records(Training.objects.filter(actor=user).order_by("created_at", "id"), user, timezone.now())


def related(user: User) -> list[wire.Training]:
    """The trainings the user may see: steered, taken part in, and for superusers all."""
    return records(visible(user), user, timezone.now())


def own_training(user: User, training_id: UUID) -> None:
    """One in which the user takes or took part. Raises NotFoundError as `training_of`, ForbiddenError for its actor."""
    if not Participation.objects.filter(training_id=training_id, client=user).exists():
        training_of(user, training_id)
        raise ForbiddenError("Only a participant of the training can leave it, and you are none.")


def _unknown(training_id: UUID) -> NotFoundError:
    return NotFoundError(
        f"There is no training {training_id}, or it is not yours to see. GET /api/users/trainings/ lists yours."
    )


def rounds(user: User, training_id: UUID) -> list[wire.Round]:
    """All attempts at all rounds, oldest first, without their tasks."""
    training = training_of(user, training_id)
    rows = list(_with_counts(training.rounds.defer("selection")).order_by("number", "attempt"))
    folded = latecomers.folded(user, training, rows)
    return [_round_record(row, folded[row.id]) for row in rows]


def round_detail(user: User, training_id: UUID, number: int) -> wire.Round:
    """The newest attempt at one round, with its tasks in canonical order."""
    training = training_of(user, training_id)
    row = _with_counts(training.rounds.filter(number=number)).order_by("-attempt").first()
    if row is None:
        newest = training.rounds.aggregate(newest=Max("number"))["newest"] or 0
        raise NotFoundError(f"The training has no round {number}; so far it has {newest}.")
    shares = {
        TaskKind.TRAIN.value: latecomers.shares(row.accepted, row.folded)[0],
        TaskKind.SWAG.value: latecomers.shares(row.moments_accepted)[0],
    }
    related = ("participation__client", "update__folded_into", "uploaded")
    tasks = row.tasks.select_related(*related).defer("uploaded__checksums")
    steers = training.actor_id == user.id or user.is_superuser
    shown = [
        _task_record(task, shares) if steers or task.participation.client_id == user.id else _outline(task)
        for task in tasks
    ]
    selection = msgspec.convert(row.selection, wire.Selection) if steers and row.selection else None
    record = _round_record(row, latecomers.folded(user, training, [row])[row.id])
    return msgspec.structs.replace(record, tasks=shown, selection=selection)


def _outline(task: Task) -> wire.TaskInfo:
    """What participants see of each other: who stands where. What others measured, sent or said is not theirs."""
    record = _task_record(task, {})
    return msgspec.structs.replace(
        record, reason="", num_examples=None, digest=None, norm=None, bytes=None, metrics={}, progress=None
    )


def _with_counts(rows: QuerySet[Round]) -> QuerySet[Round]:
    train = Q(tasks__kind=TaskKind.TRAIN.value)
    return rows.select_related("base", "version").annotate(
        cohort_size=Count("tasks", filter=train),
        reports=Count("tasks", filter=train & Q(tasks__state=TaskState.REPORTED.value)),
        bytes_received=Sum("tasks__update__size"),
    )


def _round_record(row: Round, folded: list[wire.FoldedUpdate]) -> wire.Round:
    return wire.Round(
        number=row.number,
        attempt=row.attempt,
        state=row.state,
        reason=row.reason,
        base_version=row.base.number,
        version=row.version.number if row.version is not None else None,
        cohort=getattr(row, "cohort_size", 0),
        reported=getattr(row, "reports", 0),
        bytes=getattr(row, "bytes_received", 0) or 0,
        opened_at=row.opened_at.isoformat(),
        closed_at=row.closed_at.isoformat() if row.closed_at else None,
        aggregated_at=row.aggregated_at.isoformat() if row.aggregated_at else None,
        done_at=row.done_at.isoformat() if row.done_at else None,
        wanted=row.wanted,
        folded=folded,
        closing_reason=row.closing_reason,
    )


def _task_record(task: Task, shares: Mapping[str, dict[int, float]]) -> wire.TaskInfo:
    update = getattr(task, "update", None)
    client, ordinal = task.participation.client, task.participation.ordinal
    return wire.TaskInfo(
        id=str(task.id),
        client=str(client.id),
        username=client.username,
        ordinal=ordinal,
        kind=task.kind,
        state=task.state,
        reason=task.reason,
        leased_at=task.leased_at.isoformat() if task.leased_at else None,
        uploaded_at=task.uploaded_at.isoformat() if task.uploaded_at else None,
        reported_at=task.reported_at.isoformat() if task.reported_at else None,
        num_examples=task.num_examples,
        weight=shares.get(task.kind, {}).get(ordinal) if update is not None else None,
        digest=update.digest if update is not None else None,
        norm=update.norm if update is not None else None,
        verdict=update.verdict if update is not None else None,
        bytes=update.size if update is not None else None,
        metrics=task.measured,
        progress=task.progress,
        late=update is not None and task.state == TaskState.CLOSED.value,
        counts_in=update.folded_into.number if update is not None and update.folded_into is not None else None,
    )


def metrics(user: User, training_id: UUID) -> list[wire.RoundMetrics]:
    """Every metric of every round that made a version, as mean and spread over its clients."""
    training = training_of(user, training_id)
    made = training.rounds.filter(version__isnull=False).select_related("version").order_by("number", "attempt")
    return [_round_metrics(row) for row in made.defer(*LISTS)]


def _round_metrics(row: Round) -> wire.RoundMetrics:
    found = summaries.kept(row)
    return wire.RoundMetrics(
        round=row.number,
        version=row.version.number if row.version is not None else 0,
        train=dict(found[TaskKind.TRAIN.value]),
        evaluate=dict(found[TaskKind.EVALUATE.value]),
    )


def live_trainings() -> list[UUID]:
    """Trainings that a sweep has to look at."""
    return list(Training.objects.filter(MOVING).values_list("id", flat=True))


def clients_with_work() -> list[UUID]:
    """Clients that may take a task: whom to wake when a training is resumed or a hint was lost."""
    offered = Task.objects.filter(
        state__in=(TaskState.OFFERED.value, TaskState.LOST.value),
        round__state__in=[state.value for state in LIVE_ROUND_STATES],
        round__training__status=TrainingStatus.ONGOING.value,
    )
    return list(Participation.objects.filter(tasks__in=offered).values_list("client_id", flat=True).distinct())
