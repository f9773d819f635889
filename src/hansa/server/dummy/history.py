"""What trainings leave behind: rounds with their versions and curves, and of the last of them what each client did."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from hansa.protocol.events import EventKind
from hansa.protocol.tasks import TaskKind
from hansa.rounds.states import RoundState, TaskState
from hansa.server.registry.models import Metric, MetricKind, ModelVersion
from hansa.server.trainings.models import Event, Participation, Round, Task, Training, Update

SEED: Final = 20240229
"""Of the noise: the same curves every time."""
DETAILED: Final = 5
"""The last rounds, of which is told what each client did."""
EXAMPLES: Final = (4200, 3100, 2600, 1900, 1400)
MINUTE: Final = timedelta(minutes=1)
Curves = Mapping[str, npt.NDArray[np.float64]]
"""Each metric with its values, (clients, rounds)."""


def curves(clients: int, rounds: int) -> Curves:
    """The loss falls from 2.3, that of guessing among ten classes, and the accuracy rises; each client is noisy."""
    rng = np.random.default_rng(SEED)
    steps = np.arange(rounds)
    loss = 0.15 + 2.15 * np.exp(-steps / 15) + rng.normal(0, 0.05, (clients, rounds))
    accuracy = 0.95 - 0.85 * np.exp(-steps / 15) + rng.normal(0, 0.02, (clients, rounds))
    return {"NLLoss": loss.clip(0.01), "Accuracy": accuracy.clip(0, 1)}


def add_rounds(training: Training, measured: Curves, now: datetime) -> None:
    """A round a minute until now, each with what its clients measured: what a training's page draws.

    Each has a version, and all versions are the model as it was uploaded.
    """
    parts = list(training.participations.order_by("ordinal"))
    number = len(next(iter(measured.values()))[0])
    versions = _versions(training, number, now)
    rounds = [
        Round(
            training=training,
            number=step + 1,
            attempt=1,
            state=RoundState.DONE.value,
            reason=training.reason,
            base=base,
            version=version,
            accepted=[[part.ordinal, _digest(part, step), EXAMPLES[part.ordinal]] for part in parts],
            measured={
                MetricKind.TRAIN.value: {},
                MetricKind.EVALUATE.value: {key: _spread(values[:, step]) for key, values in measured.items()},
            },
            opened_at=now - MINUTE * (number - step),
            closed_at=now - MINUTE * (number - step) + MINUTE * 0.8,
            aggregated_at=now - MINUTE * (number - step) + MINUTE * 0.85,
            done_at=now - MINUTE * (number - step - 1),
        )
        for step, (base, version) in enumerate(pairwise(versions))
    ]
    Round.objects.bulk_create(rounds)
    Metric.objects.bulk_create(_metrics(training, parts, measured))
    for row in rounds[-DETAILED:]:
        _add_tasks(row, parts)


def _versions(training: Training, count: int, now: datetime) -> Sequence[ModelVersion]:
    versions = [ModelVersion.objects.get(model_id=training.model_id, number=0)]
    made = {"model_id": training.model_id, "blob_id": versions[0].blob_id, "created_at": now}
    for number in range(1, count + 1):
        versions.append(ModelVersion.objects.create(number=number, parent=versions[-1], **made))
    return versions


def _add_tasks(row: Round, parts: Sequence[Participation]) -> None:
    """Each client trained; the last one's update points elsewhere than the others', and is three times as long."""
    rng = np.random.default_rng([SEED, row.number])
    tasks, updates = [], []
    for part in parts:
        odd = part is parts[-1]
        waited, fetched, trained = rng.uniform(1, 4), rng.uniform(0.5, 2), rng.uniform(15, 35)
        at = [row.opened_at + timedelta(seconds=each) for each in np.cumsum([waited, fetched, trained, 1.5, 0.2])]
        task = Task(
            round=row,
            participation=part,
            kind=TaskKind.TRAIN.value,
            state=TaskState.REPORTED.value,
            leased_at=at[0],
            downloaded_at=at[1],
            uploaded_at=at[3],
            reported_at=at[4],
            num_examples=EXAMPLES[part.ordinal],
        )
        tasks.append(task)
        updates.append(
            Update(
                task=task,
                digest=_digest(part, row.number - 1),
                size=131_072,
                base_id=row.base_id,
                num_examples=EXAMPLES[part.ordinal],
                norm=float(rng.normal(1.0, 0.04)) * (3.0 if odd else 1.0),
                cosine=float(rng.normal(-0.2 if odd else 0.85, 0.02)),
                received_at=at[4],
            )
        )
    Task.objects.bulk_create(tasks)
    Update.objects.bulk_create(updates)
    Event.objects.bulk_create([_event(row, EventKind.TASK_REPORTED, task.participation, task) for task in tasks])
    refused = _event(row, EventKind.TASK_REFUSED, parts[-1], tasks[-1])
    refused.reason = "array 'fc.weight' holds values that are not finite"
    refused.save()


def _event(row: Round, kind: EventKind, part: Participation, task: Task) -> Event:
    return Event(
        training_id=row.training_id,
        participation=part,
        at=task.reported_at or row.opened_at,
        kind=kind.value,
        round=row.number,
        attempt=row.attempt,
        data={"task": task.kind, "examples": task.num_examples},
    )


def _digest(part: Participation, step: int) -> str:
    """Of bytes that there never were."""
    return hashlib.sha256(f"{part.client_id} {step}".encode()).hexdigest()


def _spread(values: npt.NDArray[np.float64]) -> list[float]:
    return [float(values.mean()), float(values.min()), float(values.max()), len(values)]


def _metrics(training: Training, parts: Sequence[Participation], measured: Curves) -> list[Metric]:
    rounds = len(next(iter(measured.values()))[0])
    return [
        Metric(
            model_id=training.model_id,
            reporter_id=part.client_id,
            kind=MetricKind.EVALUATE,
            key=key,
            value=float(values[place, step]),
            step=step,
            num_examples=1,
        )
        for step in range(rounds)
        for place, part in enumerate(parts)
        for key, values in measured.items()
    ]
