"""Reads of trainings, each with its permission filter.

A training may be seen by its actor, its active participants, and superusers; it may be steered by its actor. To
everybody else there is no such training.
"""

from collections.abc import Iterable, Mapping
from typing import Final
from uuid import UUID

import msgspec
from django.db.models import Count, Exists, Max, OuterRef, Q, QuerySet, Subquery, Sum, UUIDField
from django.db.models.functions import Coalesce
from django.utils import timezone

from hansa.protocol import trainings as wire
from hansa.protocol.tasks import TaskKind
from hansa.rounds.rules import is_plain_mean
from hansa.rounds.states import LIVE_ROUND_STATES, TaskState, TrainingStatus
from hansa.server.accounts.models import User
from hansa.server.lifecycle.errors import ForbiddenError, NotFoundError
from hansa.server.prepared import Rows, Slot
from hansa.server.trainings import downloads, latecomers
from hansa.server.trainings.models import Participation, Round, Task, Training, Update
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
    if not steers(user, training):
        raise ForbiddenError("Only the actor of the training may do this. Its record names them: ask them to.")
    return training


def record(user: User, training_id: UUID) -> wire.TrainingDetail:
    """One training, with the reason why it is where it is. Raises NotFoundError as `training_of`."""
    return record_of(user, training_of(user, training_id))


def record_of(user: User, training: Training) -> wire.TrainingDetail:
    """The same of one that the user may see. Raises NotFoundError where it was deleted meanwhile."""
    found = detail(Training.objects.filter(id=training.id), user, timezone.now())
    if found is None:
        raise _unknown(training.id)
    return found


def steerable(user: User) -> QuerySet[Training]:
    """The trainings that the user may change: as its actor; a superuser all."""
    return Training.objects.all() if user.is_superuser else Training.objects.filter(actor=user)


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
    row = newest_attempt(training, number)
    selection = msgspec.convert(row.selection, wire.Selection) if steers(user, training) and row.selection else None
    record = _round_record(row, latecomers.folded(user, training, [row])[row.id])
    return msgspec.structs.replace(
        record, tasks=tasks_of(user, training, row, _TASKS(round=row.id)), selection=selection
    )


def newest_attempt(training: Training, number: int) -> Round:
    """At a round of that number. Raises NotFoundError."""
    row = _with_counts(training.rounds.filter(number=number)).order_by("-attempt").first()
    if row is None:
        newest = training.rounds.aggregate(newest=Max("number"))["newest"] or 0
        raise NotFoundError(f"The training has no round {number}; so far it has {newest}.")
    return row


def steers(user: User, training: Training) -> bool:
    """Whether the user sees all of it, and may change it."""
    return training.actor_id == user.id or user.is_superuser


def tasks_of(user: User, training: Training, row: Round, tasks: Iterable[Task]) -> list[wire.TaskInfo]:
    """Tasks of a round as the user may see them."""
    shares, sees_all = shares_in(training, row), steers(user, training)
    return [
        _task_record(task, shares) if sees_all or task.participation.client_id == user.id else _outline(task)
        for task in tasks
    ]


def shares_in(training: Training, row: Round) -> "Shares":
    """How much of each client's update is in what a round came to, where the plan's mean gives it a share."""
    plan = training.parsed_plan
    return {
        TaskKind.TRAIN.value: latecomers.shares(row.accepted, row.folded)[0]
        if is_plain_mean(plan.aggregator, plan.transforms)
        else None,
        TaskKind.SWAG.value: latecomers.shares(row.moments_accepted)[0],
    }


Shares = Mapping[str, Mapping[int, float] | None]
"""By kind of task and ordinal; None: each update has its own noted, or none."""
_SHOWN_OF_A_TASK: Final = (
    *("kind", "state", "reason", "leased_at", "downloaded_at", "uploaded_at", "reported_at", "num_examples"),
    *("metrics", "progress"),
    *("round_id", "participation__ordinal", "participation__client__username"),
    *(f"update__{name}" for name in ("digest", "norm", "cosine", "factor", "verdict", "size", "folded_into__number")),
)
"""Of a cohort of hundreds, whose rows have a hundred columns together."""


def shown_tasks(of: QuerySet[Task]) -> QuerySet[Task]:
    """With what `tasks_of` shows of each, and no more."""
    return of.select_related("participation__client", "update__folded_into").only(*_SHOWN_OF_A_TASK)


_TASKS = Rows(lambda: shown_tasks(Task.objects.filter(round=Slot("round", UUIDField()))))


def _outline(task: Task) -> wire.TaskInfo:
    """What participants see of each other: who stands where. What others measured, sent or said is not theirs."""
    record = _task_record(task, {})
    return msgspec.structs.replace(
        record, reason="", num_examples=None, digest=None, norm=None, bytes=None, metrics={}, progress=None, cosine=None
    )


def _with_counts(rows: QuerySet[Round]) -> QuerySet[Round]:
    """Add `cohort_size`, `reports` and `bytes_received`: by themselves, for joined the database would group by the
    rounds' own columns, some of which are as long as the cohort.
    """
    train = Task.objects.filter(round=OuterRef("pk"), kind=TaskKind.TRAIN.value).order_by().values("round")
    sent = Update.objects.filter(task__round=OuterRef("pk")).order_by().values("task__round")
    return rows.select_related("base", "version").annotate(
        cohort_size=Coalesce(Subquery(train.annotate(found=Count("pk")).values("found")), 0),
        reports=Coalesce(
            Subquery(train.filter(state=TaskState.REPORTED.value).annotate(found=Count("pk")).values("found")), 0
        ),
        bytes_received=Subquery(sent.annotate(found=Sum("size")).values("found")),
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


def _task_record(task: Task, shares: Shares) -> wire.TaskInfo:
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
        weight=_weight(task.kind, ordinal, update, shares) if update is not None else None,
        digest=update.digest if update is not None else None,
        norm=update.norm if update is not None else None,
        verdict=update.verdict if update is not None else None,
        bytes=update.size if update is not None else None,
        metrics=task.measured,
        progress=task.progress,
        late=update is not None and task.state == TaskState.CLOSED.value,
        cosine=update.cosine if update is not None else None,
        downloaded_at=had.isoformat() if (had := downloads.done_at(task.id, task.downloaded_at)) else None,
        downloads=task.state == TaskState.LEASED.value and downloads.goes_on(task.id),
        counts_in=update.folded_into.number if update is not None and update.folded_into is not None else None,
    )


def _weight(kind: str, ordinal: int, update: Update, shares: Shares) -> float | None:
    of_kind = shares.get(kind, {})
    return update.factor if of_kind is None else of_kind.get(ordinal)


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
