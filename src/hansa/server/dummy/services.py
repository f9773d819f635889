"""Trainings as five clients would have left them: one of eighty rounds, and two that came to other ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from hansa.rounds import plan as plans
from hansa.rounds.states import TrainingStatus
from hansa.server.accounts.models import User
from hansa.server.accounts.services import create_token
from hansa.server.changes import change
from hansa.server.dummy import history
from hansa.server.lifecycle.errors import ConflictError
from hansa.server.registry.models import Model
from hansa.server.trainings.models import Participation, Training
from hansa.server.trainings.services import trainings

USERNAME = "dummy-user"
PASSWORD = "secret"  # noqa: S105  # the contract's; it opens an account of a server that is being debugged
ROUNDS = 80
CLIENTS = 5


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
    """A completed training of `model` by new clients, with a loss and an accuracy of each after every round.

    The first time with two others beside it: one is paused, where a client fails and another is excluded; the other has
    stopped with an error.
    """
    with change("dummy.make_training"):
        is_first = not Training.objects.filter(actor=owner).exists()
        clients = [_client() for _ in range(CLIENTS)]
        done = _training(owner, model, clients, "Dummy training", ROUNDS, now)
        _leave(done, TrainingStatus.COMPLETED, "made by /api/dummy/ for looking at; nothing was trained", ROUNDS, now)
        if is_first:
            paused = _training(owner, model, clients, "Dummy training, paused", ROUNDS, now)
            _leave(paused, TrainingStatus.PAUSED, "paused by its actor", 12, now)
            Participation.objects.filter(training=paused, ordinal=3).update(failures=3)
            excluded = "5 of its tasks in a row failed or were lost"
            Participation.objects.filter(training=paused, ordinal=4).update(failures=5, excluded=excluded)
            stopped = _training(owner, model, clients, "Dummy training, stopped", ROUNDS, now)
            _leave(stopped, TrainingStatus.ERROR, "round 7 was tried 3 times: too few reports came in time", 6, now)
        token = create_token(user_id=owner.id, name="dummy", expires_in_seconds=None, now=now)
    return Made(done, clients, token.text)


def _training(owner: User, model: Model, clients: Sequence[User], name: str, rounds: int, now: datetime) -> Training:
    uncertain = plans.parse({"rounds": rounds, "uncertainty": {"method": "mc_dropout", "samples": 20}})
    return trainings.create(actor=owner, model=model, plan=uncertain, clients=clients, name=name, now=now)


def _leave(training: Training, status: TrainingStatus, reason: str, rounds: int, now: datetime) -> None:
    """As if so many rounds were done, and it had come to this."""
    Training.objects.filter(id=training.id).update(
        status=status.value,
        reason=reason,
        rounds_done=rounds,
        started_at=now - history.MINUTE * rounds,
        finished_at=now if status is TrainingStatus.COMPLETED else None,
    )
    training.refresh_from_db()
    history.add_rounds(training, history.curves(CLIENTS, rounds), now)


def _client() -> User:
    user = User(username=f"dummy-client-{uuid4().hex[:12]}", client=True)
    user.set_unusable_password()
    user.save(force_insert=True)
    return user
