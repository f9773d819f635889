"""Rows as a training of eighty rounds by five clients would have left them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from hansa.rounds import plan as plans
from hansa.rounds.states import RoundState, TrainingStatus
from hansa.server.accounts.models import User
from hansa.server.accounts.services import create_token
from hansa.server.changes import change
from hansa.server.lifecycle.errors import ConflictError
from hansa.server.registry.models import Metric, MetricKind, Model, ModelVersion
from hansa.server.trainings.models import Round, Training
from hansa.server.trainings.services import trainings

USERNAME = "dummy-user"
PASSWORD = "secret"  # noqa: S105  # the contract's; it opens an account of a server that is being debugged
ROUNDS = 80
CLIENTS = 5
SEED = 20240229
"""Of the noise: the same curves every time."""


@dataclass(frozen=True, slots=True)
class Made:
    """One dummy training."""

    training: Training
    clients: Sequence[User]
    token: str
    """A new one of its owner, in clear."""


def owner(*, hashed: str) -> User:
    """The account that owns all dummies; made with this hash of its password if it is not there."""
    user, _ = User.objects.get_or_create(username=USERNAME, defaults={"password": hashed})
    return user


def check_is_ours(user: User, has_our_password: bool) -> None:
    """Raise ConflictError if somebody else has the name: no token of theirs is given away."""
    if not has_our_password or not user.is_active or user.is_staff or user.is_superuser:
        raise ConflictError(
            f"The account {USERNAME!r} is not the one that this call makes: its password is another, or it has rights "
            "or is closed. Rename that account, then call again.",
            "in_use",
        )


def make_training(*, owner: User, model: Model, now: datetime) -> Made:
    """A completed training of `model` by new clients, with a loss and an accuracy of each after every round."""
    with change("dummy.make_training"):
        clients = [_client() for _ in range(CLIENTS)]
        training = trainings.create(
            actor=owner, model=model, plan=plans.fedavg(rounds=ROUNDS), clients=clients, name="Dummy training", now=now
        )
        Training.objects.filter(id=training.id).update(
            status=TrainingStatus.COMPLETED.value,
            reason="made by /api/dummy/ for looking at; nothing was trained",
            rounds_done=ROUNDS,
            started_at=now - timedelta(minutes=ROUNDS),
            finished_at=now,
        )
        training.refresh_from_db()
        curves = _curves()
        Metric.objects.bulk_create(_metrics(training, clients, curves))
        Round.objects.bulk_create(_rounds(training, curves, now))
        token = create_token(user_id=owner.id, name="dummy", expires_in_seconds=None, now=now)
    return Made(training, clients, token.text)


def _client() -> User:
    user = User(username=f"dummy-client-{uuid4().hex[:12]}", client=True)
    user.set_unusable_password()
    user.save(force_insert=True)
    return user


Curves = Mapping[str, npt.NDArray[np.float64]]
"""Each metric with its values, (clients, rounds)."""


def _curves() -> Curves:
    """The loss falls from 2.3, that of guessing among ten classes, and the accuracy rises; each client is noisy."""
    rng = np.random.default_rng(SEED)
    steps = np.arange(ROUNDS)
    loss = 0.15 + 2.15 * np.exp(-steps / 15) + rng.normal(0, 0.05, (CLIENTS, ROUNDS))
    accuracy = 0.95 - 0.85 * np.exp(-steps / 15) + rng.normal(0, 0.02, (CLIENTS, ROUNDS))
    return {"NLLoss": loss.clip(0.01), "Accuracy": accuracy.clip(0, 1)}


def _rounds(training: Training, curves: Curves, now: datetime) -> list[Round]:
    """A round a minute until now, each with what its clients measured: what a training's page draws.

    Each has a version, and all versions are the model as it was uploaded.
    """
    first = ModelVersion.objects.get(model_id=training.model_id, number=0)
    versions = [first]
    for number in range(1, ROUNDS + 1):
        made = {"model_id": first.model_id, "blob_id": first.blob_id, "created_at": now}
        versions.append(ModelVersion.objects.create(number=number, parent=versions[-1], **made))
    ends = [now - timedelta(minutes=ROUNDS - 1 - step) for step in range(ROUNDS)]
    return [
        Round(
            training=training,
            number=step + 1,
            attempt=1,
            state=RoundState.DONE.value,
            reason=training.reason,
            base=versions[step],
            version=versions[step + 1],
            accepted=[],
            measured={
                MetricKind.TRAIN.value: {},
                MetricKind.EVALUATE.value: {key: _spread(values[:, step]) for key, values in curves.items()},
            },
            opened_at=ends[step] - timedelta(minutes=1),
            closed_at=ends[step],
            aggregated_at=ends[step],
            done_at=ends[step],
        )
        for step in range(ROUNDS)
    ]


def _spread(values: npt.NDArray[np.float64]) -> list[float]:
    return [float(values.mean()), float(values.min()), float(values.max()), len(values)]


def _metrics(training: Training, clients: Sequence[User], curves: Curves) -> list[Metric]:
    return [
        Metric(
            model_id=training.model_id,
            reporter=client,
            kind=MetricKind.EVALUATE,
            key=key,
            value=float(values[place, step]),
            step=step,
            num_examples=1,
        )
        for step in range(ROUNDS)
        for place, client in enumerate(clients)
        for key, values in curves.items()
    ]
