"""Where each client of a round stands, in few columns: for pictures of a cohort of hundreds, of whom few are listed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from django.db.models import UUIDField

from hansa.protocol.tasks import TaskKind
from hansa.rounds.states import TaskState
from hansa.server.accounts.models import User
from hansa.server.prepared import Rows, Slot
from hansa.server.trainings import selectors
from hansa.server.trainings.models import Round, Task, Training

TROUBLED: Final = frozenset({TaskState.LOST.value, TaskState.FAILED.value})


@dataclass(frozen=True, slots=True)
class Standing:
    """One client in a round."""

    ordinal: int
    username: str
    state: str
    """Of what it was asked first: to train, but for a round that is only evaluated."""
    failed: bool
    """Whether something of what it was asked failed, or was lost."""
    norm: float | None
    """Of the update it sent; None as well for who may not know it, as is what follows."""
    cosine: float | None
    weight: float | None


def standings(user: User, training: Training, of: Round) -> Sequence[Standing]:
    """Of every client in a round that the user may see, in canonical order."""
    factors = selectors.shares_in(training, of)[TaskKind.TRAIN.value]
    sees_all = selectors.steers(user, training)
    firsts: dict[int, Standing] = {}
    troubled: set[int] = set()
    for ordinal, kind, state, username, norm, cosine, factor in sorted(_TASKS(round=of.id), key=_first_asked):
        if state in TROUBLED:
            troubled.add(ordinal)
        if ordinal in firsts:
            continue
        told = kind == TaskKind.TRAIN.value and norm is not None and (sees_all or username == user.username)
        weight = factor if factors is None else factors.get(ordinal)
        firsts[ordinal] = Standing(ordinal, username, state, False, *((norm, cosine, weight) if told else (None,) * 3))
    return [replace(each, failed=True) if each.ordinal in troubled else each for each in firsts.values()]


def _first_asked(row: tuple[int, str, str, str, float, float, float]) -> tuple[int, bool, str]:
    ordinal, kind, *_ = row
    return ordinal, kind != TaskKind.TRAIN.value, kind


_TASKS = Rows(
    lambda: (
        Task.objects.filter(round=Slot("round", UUIDField()))
        .order_by()
        .values_list(
            *("participation__ordinal", "kind", "state", "participation__client__username"),
            *("update__norm", "update__cosine", "update__factor"),
        )
    )
)
