"""One client: whether it is there, where it takes part and how it stands, and how its tasks went."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db.models import F, QuerySet
from django.utils import timezone
from rest_framework.permissions import IsAuthenticated

from hansa.server.accounts import selectors
from hansa.server.accounts.models import User
from hansa.server.accounts.permissions import IsActor
from hansa.server.dashboard.clients import rows
from hansa.server.dashboard.leaves import leaf_of
from hansa.server.dashboard.page import Page, Shown
from hansa.server.dashboard.titles import title
from hansa.server.dashboard.training_cards import TONES
from hansa.server.lifecycle.errors import NotFoundError
from hansa.server.trainings.models import Participation, Task
from hansa.server.trainings.selectors import steerable

MOST: Final = 50
"""Trainings that the page names."""


@dataclass(frozen=True, slots=True)
class Part:
    """How the client stands in one training."""

    training: UUID
    title: str
    status: str
    tone: str
    standing: str
    excluded: str
    """Why it is asked no more; empty: it is."""
    num_examples: int | None


@dataclass(frozen=True, slots=True)
class Work:
    """One task."""

    training: UUID
    title: str
    round: int
    kind: str
    state: str
    reason: str
    leased_at: datetime | None
    seconds: float | None
    """From its lease to its report."""


class OneClient(Page):
    """For who has invited it, or trains with it; of trainings only those that they steer."""

    template = "client.html"
    permission_classes = (IsAuthenticated, IsActor)

    def show(self, user: User, **asked: Any) -> Shown:  # Any: the URL's arguments
        """Its standing, and a page of its tasks, the newest first."""
        client = selectors.known_clients(user).filter(id=asked["client_id"]).first()
        if client is None:
            raise NotFoundError("There is no such client, or you have neither invited it nor train with it.")
        (row,) = rows(user, [client], timezone.now())
        steered = Participation.objects.filter(client=client, training__in=steerable(user))
        leaf = leaf_of(_tasks(steered), self.request.query_params.get("page"))
        return {
            "here": "clients",
            "row": row,
            "parts": _parts(steered),
            "leaf": leaf,
            "work": [_work(task) for task in leaf.object_list],
            "invited_by": _inviter(client, user),
        }


def _inviter(client: User, viewer: User) -> str:
    """Empty where nobody is known, or it is not the viewer's to know."""
    inviter = client.invited_by
    return inviter.username if inviter is not None and (viewer.is_superuser or inviter.id == viewer.id) else ""


def _parts(steered: QuerySet[Participation]) -> Sequence[Part]:
    found = steered.select_related("training").order_by("-training__created_at")[:MOST]
    return [
        Part(
            training=each.training_id,
            title=title(each.training.name, each.training_id),
            status=each.training.status,
            tone=TONES[each.training.status],
            standing=_standing(each),
            excluded=each.excluded,
            num_examples=each.num_examples,
        )
        for each in found
    ]


def _standing(part: Participation) -> str:
    if not part.active:
        return "left"
    if part.excluded:
        return "excluded"
    return f"{part.failures} failure{'s' if part.failures > 1 else ''} in a row" if part.failures else "takes part"


def _tasks(steered: QuerySet[Participation]) -> QuerySet[Task]:
    found = Task.objects.filter(participation__in=steered).select_related("round__training")
    wanted = found.only("kind", "state", "reason", "leased_at", "reported_at", "round__number", "round__training__name")
    return wanted.order_by(F("leased_at").desc(nulls_first=True), "-round__number", "id")


def _work(task: Task) -> Work:
    training = task.round.training
    taken, reported = task.leased_at, task.reported_at
    return Work(
        training=training.id,
        title=title(training.name, training.id),
        round=task.round.number,
        kind=task.kind,
        state=task.state,
        reason=task.reason,
        leased_at=taken,
        seconds=None if taken is None or reported is None else (reported - taken).total_seconds(),
    )
