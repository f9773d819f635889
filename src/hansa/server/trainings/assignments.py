"""What a client is told of its task, what it begins from, and what its result has to fit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self
from uuid import UUID

from django.db.models import Q, UUIDField

from hansa.core.params import ParamSpec
from hansa.core.seeds import client_seed
from hansa.protocol import tasks as wire
from hansa.protocol.calibration import CalibrationWish
from hansa.protocol.encodings import Encoding
from hansa.protocol.tasks import TaskKind
from hansa.rounds.decide import LEASE_SECONDS
from hansa.rounds.encoding import offered
from hansa.rounds.states import TaskState
from hansa.server.accounts.models import User
from hansa.server.blobs.inspection import Known
from hansa.server.blobs.models import Blob
from hansa.server.lifecycle.context import note
from hansa.server.lifecycle.errors import NotFoundError
from hansa.server.prepared import Rows, Slot
from hansa.server.registry.models import ModelVersion
from hansa.server.trainings import facts, moments
from hansa.server.trainings.models import Round, Task
from hansa.server.trainings.services import calibrating, folding

FIRST_PROTOCOL, RELAY_PROTOCOL = 1, 2
"""Clients of the first know neither moments nor a place to begin from that is no version; those of the second are given
no version to calibrate."""
_ASKS_MORE = (TaskKind.EVALUATE, TaskKind.CALIBRATE)


_LEASED = Rows(
    lambda: (
        Task.objects.filter(id=Slot("task", UUIDField()))
        .select_related("source__blob", "participation")
        .defer("metrics", "source__blob__checksums")
    )
)
_ROUND = Rows(
    lambda: (
        Round.objects.filter(id=Slot("round", UUIDField()))
        .select_related("training__model", "base__blob", "version__blob")
        .defer(*facts.LISTS, "base__blob__checksums", "version__blob__checksums")
    )
)


def messages(task_ids: Sequence[UUID]) -> list[wire.Task]:
    """What clients are told of the tasks that they have just leased. What a round has for all is read once."""
    leased = [_LEASED(task=task_id)[0] for task_id in task_ids]
    rounds = {task.round_id: task for task in leased}.keys()
    briefs = {round_id: _Brief.of(_ROUND(round=round_id)[0]) for round_id in rounds}
    return [_message(task, briefs[task.round_id]) for task in leased]


@dataclass(frozen=True, slots=True)
class _Brief:
    """What all tasks of a round are told alike."""

    round: Round
    config: dict[str, float | int | str | bool | None]
    calibration: CalibrationWish | None
    encoding: Encoding | None

    @classmethod
    def of(cls, row: Round) -> Self:
        plan = row.training.parsed_plan
        client = plan.client
        config = {name: getattr(client, name) for name in client.__struct_fields__ if name != "extra"}
        return cls(row, {**client.extra, **config}, calibrating.wish(row), offered(plan.encoding))


def _message(task: Task, brief: _Brief) -> wire.Task:
    task.round = brief.round
    of, training, version, blob = task.round, task.round.training, _version(task), _beginning(task)
    kind, is_version = TaskKind(task.kind), blob.sha256 == version.blob_id
    path = f"/api/models/{training.model_id}/versions/{version.number}/params/"
    return wire.Task(
        id=str(task.id),
        kind=kind,
        training=str(training.id),
        round=of.number,
        rounds=training.plan["rounds"],
        attempt=of.attempt,
        model=str(training.model_id),
        version=version.number,
        params=path if is_version else f"/api/tasks/{task.id}/base/",
        digest=blob.sha256,
        size=blob.size,
        ordinal=task.participation.ordinal,
        seed=client_seed(training.seed, of.number, task.participation.ordinal),
        config=brief.config,
        order=list(moments.order_of(training.model)) if kind is TaskKind.SWAG else [],
        lease_seconds=LEASE_SECONDS,
        calibration=brief.calibration if kind in _ASKS_MORE else None,
        encoding=brief.encoding if kind is TaskKind.TRAIN else None,
        protocol=_needed(kind, is_version=is_version),
    )


def _needed(kind: TaskKind, *, is_version: bool) -> int:
    if kind is TaskKind.CALIBRATE:
        return calibrating.CALIBRATION_PROTOCOL
    return FIRST_PROTOCOL if is_version and kind is not TaskKind.SWAG else RELAY_PROTOCOL


_PARTS = (
    "round__training__model",
    "round__base__blob",
    "round__version__blob",
    "participation",
    "source__blob",
    "uploaded",
)
_BLOBS = ("round__base__blob", "round__version__blob", "source__blob", "uploaded")
_COLUMNS = (
    *("kind", "state", "reason", "round", "round__base", "round__version", "round__training", "source"),
    *("round__number", "round__state", "round__training__status", "round__training__rounds_done"),
    "round__training__plan",
    *(f"round__training__model__{name}" for name in ("spec", "ties", "param_order")),
    *("participation__active", "participation__excluded"),
    *(f"{blob}__{name}" for blob in _BLOBS for name in ("size", "checksums")),
)
_OWN = Rows(
    lambda: (
        Task.objects.filter(id=Slot("task", UUIDField()), participation__client_id=Slot("user", UUIDField()))
        .select_related(*_PARTS)
        .only(*_PARTS, *_COLUMNS)
    )
)
"""A task of one's own, with what it begins from and what has come of it."""


@dataclass(frozen=True, slots=True)
class Base:
    """What a task begins from."""

    task: Task
    digest: str


def base(user: User, task_id: UUID) -> Base:
    """What a task begins from: a local model, or a version. NotFoundError unless the task is the caller's."""
    task = _OWN.first(task=task_id, user=user.id)
    if task is None:
        raise NotFoundError(f"There is no task {task_id}, or it is not yours.")
    return Base(task=task, digest=_beginning(task).sha256)


@dataclass(frozen=True, slots=True)
class UploadTarget:
    """What the result of a task has to fit."""

    task_id: UUID
    user_id: UUID
    kind: TaskKind
    spec: ParamSpec
    ties: tuple[tuple[str, ...], ...]
    """Names that are one array."""
    base: Known
    """The params that the task begins from."""
    task: Task
    encoding: Encoding | None = None
    """The form in which it may come, beside that of the model."""


def upload_target(user: User, task_id: UUID) -> UploadTarget:
    """The task an upload is for. Raises NotFoundError unless it is the caller's, and has a file for a result."""
    task = _OWN.first(task=task_id, user=user.id)
    if task is None or task.kind not in facts.WITH_FILE:
        raise NotFoundError(f"There is no task {task_id} with a file for a result, or it is not yours.")
    note(training=task.round.training_id, round=task.round.number)
    kind, model = TaskKind(task.kind), task.round.training.model
    return UploadTarget(
        task_id=task.id,
        user_id=user.id,
        kind=kind,
        spec=model.param_spec if kind is TaskKind.TRAIN else moments.spec_of(model),
        ties=tuple(tuple(names) for names in model.ties) if kind is TaskKind.TRAIN else (),
        base=Known.of(_beginning(task)),
        task=task,
        encoding=offered(task.round.training.parsed_plan.encoding) if kind is TaskKind.TRAIN else None,
    )


def open_uploads() -> set[UUID]:
    """Tasks whose result may still be sent, in time or late."""
    still_open = Q()
    for kind in map(TaskKind, sorted(facts.WITH_FILE)):
        still_open |= Q(kind=kind.value, round__state=facts.OPEN_ROUND[kind].value)
    tasks = Task.objects.filter(still_open).exclude(state=TaskState.REPORTED.value)
    return {*tasks.values_list("id", flat=True), *folding.open_tasks().values_list("id", flat=True)}


def _version(task: Task) -> ModelVersion:
    """The version to train from, or that is made and asked about."""
    made = task.round.version
    return task.round.base if task.kind == TaskKind.TRAIN.value or made is None else made


def _beginning(task: Task) -> Blob:
    """The local model that was dealt to the client, or the version."""
    dealt = task.source.blob if task.source is not None else None
    return dealt if dealt is not None else _version(task).blob
