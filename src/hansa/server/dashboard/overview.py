"""The first page: what runs, who is there, what wants a person. And the list of all trainings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.core.paginator import Page as Leaf
from django.core.paginator import Paginator
from django.db.models import Count, F, QuerySet
from django.utils import timezone

from hansa.protocol import trainings as wire
from hansa.rounds.states import TrainingStatus
from hansa.server.accounts import presence
from hansa.server.accounts.models import User
from hansa.server.dashboard import charts
from hansa.server.dashboard.concerns import concerns
from hansa.server.dashboard.page import Page, Shown
from hansa.server.dashboard.titles import title
from hansa.server.trainings import discretion, records, selectors, summaries
from hansa.server.trainings.models import Training

NEWEST = 8
"""Trainings on the first page; the others are a click away."""
PER_PAGE = 25
LATELY = timedelta(seconds=90)
"""A waiting client asks again within a minute: who was heard of since is online."""

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
    tone: str
    """How its badge looks."""
    left: timedelta | None
    """Until its end, at the pace so far; None: unknown, or it has ended."""
    spark: str = ""
    """A line of its first metric over the rounds, for an SVG; empty while there is none."""
    metric: str = ""
    """What that line shows, with its newest value."""

    @property
    def title(self) -> str:
        """Its name, or the beginning of its id."""
        return title(self.record.name, self.record.id)


class Overview(Page):
    """What runs, who is there, and what needs attention."""

    template = "overview.html"

    def show(self, user: User, **asked: Any) -> Shown:  # Any: the URL's arguments
        """As far as the user may see it."""
        now = timezone.now()
        visible = selectors.visible(user)
        newest = cards(visible.order_by(F("started_at").desc(nulls_first=True), "-created_at")[:NEWEST], user, now)
        return {
            "here": "overview",
            "counts": counted(visible),
            "total": visible.count(),
            "cards": newest,
            "clients": _clients(user, now) if user.may_act else None,
            "concerns": concerns(user, now),
        }


class Trainings(Page):
    """All of them, by state."""

    template = "trainings.html"

    def show(self, user: User, **asked: Any) -> Shown:  # Any: as above
        """A page of those of one state, newest first."""
        now = timezone.now()
        visible = selectors.visible(user)
        status = self.request.query_params.get("status", "")
        of_status = visible.filter(status=status) if status in TONES else visible
        leaf = leaf_of(of_status.order_by("-created_at", "id"), self.request.query_params.get("page"))
        return {
            "here": "trainings",
            "counts": counted(visible),
            "total": visible.count(),
            "status": status if status in TONES else "",
            "cards": cards(leaf.object_list, user, now),
            "leaf": leaf,
        }


def leaf_of(rows: QuerySet[Any], number: str | None) -> Leaf[Any]:  # Any: rows of any kind
    """One page of rows; the nearest there is, where there is no such page."""
    return Paginator(rows, PER_PAGE).get_page(number)


def counted(visible: QuerySet[Training]) -> Sequence[tuple[str, str, int]]:
    """Of each state its name, how it looks, and how many trainings are in it."""
    found = dict(visible.order_by().values_list("status").annotate(Count("id")))
    return [(str(status), tone, found.get(str(status), 0)) for status, tone in TONES.items()]


def cards(rows: Any, user: User, now: datetime) -> Sequence[Card]:  # Any: a slice of a query
    """These trainings, in their order, with as many queries for many as for one."""
    ids = [row.id for row in rows]
    found = {record.id: record for record in records.records(Training.objects.filter(id__in=ids), user, now)}
    return [with_spark(card(found[str(each)], now), user) for each in ids]


def with_spark(plain: Card, viewer: User) -> Card:
    """The card with the line of the metric that a training's page shows first."""
    fewest = discretion.fewest(viewer, plain.record.actor)
    found = summaries.headline(UUID(plain.record.id), plain.record.rounds_done, fewest=fewest)
    if found is None:
        return plain
    name, values = found
    return replace(plain, spark=charts.spark(values), metric=f"{name} {charts.number(values[-1])}")


def card(record: wire.Training, now: datetime) -> Card:
    """A record as lists show it."""
    return Card(record, TONES[record.status], _time_left(record, now))


def _time_left(record: wire.Training, now: datetime) -> timedelta | None:
    """At the mean pace of the rounds that are done."""
    if record.status != TrainingStatus.ONGOING or record.started_at is None or not record.rounds_done:
        return None
    passed = now - datetime.fromisoformat(record.started_at)
    return passed / record.rounds_done * (record.rounds - record.rounds_done)


def _clients(user: User, now: datetime) -> Mapping[str, int]:
    """How many clients the user may know of: online, and at work."""
    known = User.objects.filter(client=True, is_active=True)
    seen = [presence.last_seen(client, last) for client, last in known.values_list("id", "last_seen")]
    online = sum(moment is not None and datetime.fromisoformat(moment) > now - LATELY for moment in seen)
    working = known.filter(participations__tasks__lease_until__gt=now, participations__tasks__state="leased")
    return {"known": len(seen), "online": online, "working": working.distinct().count()}
