"""What wants a person: trainings that stand or stall, clients that fail, updates that were refused, a disk that fills.

Each concern says what was seen and what can be done about it. Nobody is told of what is not theirs to see.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Count, Exists, Max, OuterRef, Q, QuerySet, Subquery
from django.urls import reverse

from hansa.protocol.events import EventKind
from hansa.rounds.states import TaskState, TrainingStatus
from hansa.server.accounts.models import User
from hansa.server.blobs import store
from hansa.server.dashboard.titles import title
from hansa.server.trainings.models import Event, Participation, Task, Training
from hansa.server.trainings.selectors import steerable

MOST: Final = 12
"""Concerns that are shown."""
EACH: Final = 100
"""Concerns of a kind that are counted."""
TONES: Final = ("bad", "warn")
"""The worst first."""
LATELY: Final = timedelta(days=1)
QUIET: Final = timedelta(minutes=10)
"""How long nothing has happened in a training that is stalled."""
FULL: Final = 0.9
"""Of the disk."""
FAILING: Final = 2
"""Failures in a row from which on a client is a concern."""


@dataclass(frozen=True, slots=True)
class Concern:
    """Something that a person should look at."""

    tone: str
    title: str
    what: str
    move: str
    """What they can do about it."""
    url: str


@dataclass(frozen=True, slots=True)
class Concerns:
    """The worst of them."""

    shown: Sequence[Concern]
    more: int
    """How many there are beside."""


def concerns(user: User, now: datetime) -> Concerns:
    """Those of the trainings that the user steers, and for superusers those of the machine; worst first."""
    steered = steerable(user)
    found = [
        *(_disk() if user.is_superuser else ()),
        *_stopped(steered),
        *_stalled(steered, now),
        *_clients(steered),
        *_refused(steered, now),
    ]
    worst_first = sorted(found, key=lambda concern: TONES.index(concern.tone))
    return Concerns(worst_first[:MOST], len(worst_first[MOST:]))


def _stopped(steered: QuerySet[Training]) -> Iterator[Concern]:
    failed = Q(status=TrainingStatus.ERROR.value)
    waiting = Q(status=TrainingStatus.PAUSED.value, awaits_clients=True)
    for training in steered.filter(failed | waiting).order_by("status", "-created_at")[:EACH]:
        is_error = training.status == TrainingStatus.ERROR.value
        move = (
            "Mend what the reason names, then resume it." if is_error else "It goes on by itself when they are there."
        )
        yield Concern(
            "bad" if is_error else "warn",
            "stopped" if is_error else "waits for clients",
            f"{title(training.name, training.id)}: {training.reason}",
            move,
            reverse("training-page", args=[training.id]),
        )


def _stalled(steered: QuerySet[Training], now: datetime) -> Iterator[Concern]:
    """Those that should go on, of which nothing was heard for a while, and at which nobody works."""
    last = Event.objects.filter(training=OuterRef("pk")).order_by("-id").values("at")[:1]
    at_work = Task.objects.filter(round__training=OuterRef("pk"), state=TaskState.LEASED.value, lease_until__gt=now)
    ongoing = steered.filter(~Exists(at_work), status=TrainingStatus.ONGOING.value).annotate(last=Subquery(last))
    for training in ongoing.filter(last__lt=now - QUIET).order_by("last")[:EACH]:
        minutes = int((now - training.last).total_seconds() // 60)
        quiet = f"{minutes} minutes" if minutes < 120 else f"{minutes // 60} hours"
        yield Concern(
            "warn",
            "stalled",
            f"{title(training.name, training.id)}: nothing has happened for {quiet}, and no client works on it",
            "See whether its clients run and reach this server; a deadline in the plan lets rounds go on without them.",
            reverse("training-page", args=[training.id]) + "#clients",
        )


def _clients(steered: QuerySet[Training]) -> Iterator[Concern]:
    going = steered.filter(status__in=[TrainingStatus.ONGOING.value, TrainingStatus.PAUSED.value])
    failing = Participation.objects.filter(~Q(excluded="") | Q(failures__gte=FAILING), training__in=going, active=True)
    for each in failing.select_related("client", "training").order_by("-failures")[:EACH]:
        what = each.excluded or f"{each.failures} tasks in a row failed or were lost"
        yield Concern(
            "bad" if each.excluded else "warn",
            "excluded" if each.excluded else "fails",
            f"{each.client.username} in {title(each.training.name, each.training.id)}: {what}",
            "Look at its tasks' reasons, and into its log. Adding it to the training again forgives what was.",
            reverse("training-page", args=[each.training_id]) + "#clients",
        )


def _refused(steered: QuerySet[Training], now: datetime) -> Iterator[Concern]:
    refused = Event.objects.filter(training__in=steered, kind=EventKind.TASK_REFUSED.value, at__gt=now - LATELY)
    rows = refused.order_by().values("training_id", "training__name").annotate(count=Count("id"), last=Max("round"))
    for row in rows.order_by("-count")[:EACH]:
        name = title(row["training__name"], row["training_id"])
        yield Concern(
            "warn",
            "refused",
            f"{name}: {row['count']} result{'s' if row['count'] > 1 else ''} of clients refused within a day",
            "The event log says whose, and why.",
            reverse("training-page", args=[row["training_id"]]) + f"?of_round={row['last'] or ''}#events",
        )


def _disk() -> Iterator[Concern]:
    disk = shutil.disk_usage(store.home())
    if disk.used / disk.total > FULL:
        yield Concern(
            "bad",
            "disk",
            f"The disk of the store is {disk.used / disk.total:.0%} full.",
            "Free some space there: without it updates are refused and trainings pause. `hansa doctor` tells more.",
            reverse("overview"),
        )
