"""What wants a person: trainings that stand, clients that fail, updates that were refused, a disk that fills.

Each concern says what was seen and what can be done about it. Nobody is told of what is not theirs to see.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Max, Q, QuerySet
from django.urls import reverse

from hansa.protocol.events import EventKind
from hansa.rounds.states import TrainingStatus
from hansa.server.accounts.models import User
from hansa.server.blobs import store
from hansa.server.dashboard.titles import title
from hansa.server.trainings.models import Event, Participation, Training

MOST = 12
LATELY = timedelta(days=1)
FULL = 0.9
"""Of the disk."""
FAILING = 2
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


def concerns(user: User, now: datetime) -> Sequence[Concern]:
    """Those of the trainings that the user steers, and for superusers those of the machine; worst first."""
    steered = Training.objects.all() if user.is_superuser else Training.objects.filter(actor=user)
    found = [*_stopped(steered), *(_disk() if user.is_superuser else ()), *_clients(steered), *_refused(steered, now)]
    return found[:MOST]


def _stopped(steered: QuerySet[Training]) -> Iterator[Concern]:
    failed = Q(status=TrainingStatus.ERROR.value)
    waiting = Q(status=TrainingStatus.PAUSED.value, awaits_clients=True)
    for training in steered.filter(failed | waiting).order_by("status", "-created_at")[:MOST]:
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


def _clients(steered: QuerySet[Training]) -> Iterator[Concern]:
    going = steered.filter(status__in=[TrainingStatus.ONGOING.value, TrainingStatus.PAUSED.value])
    failing = Participation.objects.filter(~Q(excluded="") | Q(failures__gte=FAILING), training__in=going, active=True)
    for each in failing.select_related("client", "training").order_by("-failures")[:MOST]:
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
    for row in rows.order_by("-count")[:MOST]:
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
