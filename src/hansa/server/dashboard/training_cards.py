"""Trainings in a list: where each is, how long it will take, and a line of what it learns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db.models import Count, QuerySet

from hansa.protocol import trainings as wire
from hansa.rounds.states import TrainingStatus
from hansa.server.accounts.models import User
from hansa.server.dashboard import charts
from hansa.server.dashboard.titles import title
from hansa.server.trainings import discretion, records, selectors, summaries
from hansa.server.trainings.models import Training

TONES: Final[Mapping[str, str]] = {
    TrainingStatus.INITIAL: "idle",
    TrainingStatus.ONGOING: "live",
    TrainingStatus.PAUSED: "warn",
    TrainingStatus.COMPLETED: "good",
    TrainingStatus.ERROR: "bad",
    TrainingStatus.CANCELLED: "idle",
}


@dataclass(frozen=True, slots=True)
class Card:
    """A training in a list."""

    record: wire.Training
    line: summaries.Line | None = None
    """Its first metric over the rounds; None while there is none, or none that the viewer may know."""
    left: timedelta | None = None
    """Until its end, at the pace so far; None: unknown, or it has ended."""

    @property
    def title(self) -> str:
        """Its name, or the beginning of its id."""
        return title(self.record.name, self.record.id)

    @property
    def tone(self) -> str:
        """How its badge looks."""
        return TONES[self.record.status]

    @property
    def spark(self) -> str:
        """That line for an SVG; empty where it is no line yet."""
        return charts.spark(self.line.values) if self.line is not None else ""

    @property
    def metric(self) -> str:
        """What the line shows, with its newest value."""
        return "" if self.line is None else f"{self.line.key} {charts.number(self.line.values[-1])}"


def card(record: wire.Training, now: datetime) -> Card:
    """Without its line."""
    return Card(record, left=_time_left(record, now))


def cards(rows: Any, viewer: User, now: datetime) -> Sequence[Card]:  # Any: a slice of a query
    """These trainings, in their order, with as many queries for many as for one."""
    ids = [row.id for row in rows]
    found = {record.id: record for record in records.records(Training.objects.filter(id__in=ids), viewer, now)}
    told = [found[str(each)] for each in ids]
    lines = summaries.headlines(
        {UUID(each.id): (each.rounds_done, discretion.fewest(viewer, each.actor)) for each in told}
    )
    return [Card(each, lines.get(UUID(each.id)), _time_left(each, now)) for each in told]


def listed(viewer: User, status: str) -> QuerySet[Training]:
    """Those that the viewer may see, in one state or, if it is none, in any; the newest first."""
    visible = selectors.visible(viewer)
    of_status = visible.filter(status=status) if status in TONES else visible
    return of_status.order_by("-created_at", "id")


def counted(visible: QuerySet[Training]) -> Sequence[tuple[str, str, int]]:
    """Of each state its name, how it looks, and how many trainings are in it."""
    found = dict(visible.order_by().values_list("status").annotate(Count("id")))
    return [(str(status), tone, found.get(str(status), 0)) for status, tone in TONES.items()]


def _time_left(record: wire.Training, now: datetime) -> timedelta | None:
    """At the mean pace of the rounds that are done."""
    if record.status != TrainingStatus.ONGOING or record.started_at is None or not record.rounds_done:
        return None
    passed = now - datetime.fromisoformat(record.started_at)
    return passed / record.rounds_done * (record.rounds - record.rounds_done)
