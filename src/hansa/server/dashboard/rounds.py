"""A round on its training's page: a lane for each client, what it sent, and how that compares with what came of it.

All clients are counted and drawn as dots; the tasks are read of those alone whose lanes are shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.core.paginator import Paginator
from django.utils import timezone

from hansa.protocol import trainings as wire
from hansa.protocol.tasks import TaskKind
from hansa.server.accounts.models import User
from hansa.server.dashboard import charts
from hansa.server.dashboard.outliers import RULE, outliers
from hansa.server.dashboard.page import Page, Shown
from hansa.server.trainings import selectors
from hansa.server.trainings.models import Round, Task
from hansa.server.trainings.standings import Standing, standings

LANES_PER_PAGE: Final = 50
CONSPICUOUS: Final = "conspicuous"
"""The choice of those of whom something failed, was lost, or stands apart."""


@dataclass(frozen=True, slots=True)
class Clock:
    """A round's own time, in which its lanes are drawn: from its opening to its end, or to now."""

    opened: datetime
    length: float

    @classmethod
    def of(cls, row: Round, now: datetime) -> "Clock":
        """That round's."""
        return cls(row.opened_at, ((row.done_at or now) - row.opened_at).total_seconds())

    def after(self, moment: datetime | str | None) -> float | None:
        """Seconds from the opening on."""
        at = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        return None if at is None else (at - self.opened).total_seconds()


@dataclass(frozen=True, slots=True)
class Lane:
    """One client in a round."""

    task: wire.TaskInfo
    """What it was asked first: to train, but for a round that is only evaluated."""
    later: Sequence[wire.TaskInfo]
    """What it was asked around the version: moments, an evaluation."""
    stretches: Sequence[charts.Stretch]
    apart: str = ""
    """Why its update stands apart from the others; empty: it does not."""


def round_part(page: Page, user: User, shown: Shown) -> Shown:
    """The round that is asked for, or the newest, a page of its lanes at a time."""
    newest, training = shown["record"].round, shown["training"]
    if not newest:
        return {"round": None}
    asked = page.request.query_params
    row = selectors.newest_attempt(training, whole(asked.get("round", ""), newest))
    every = standings(user, training, row)
    apart = _apart(every)
    counted = choices(every, apart)
    choice = asked.get("lanes", "") if asked.get("lanes", "") in dict(counted) else ""
    chosen = [each for each in every if _is_chosen(each, choice, apart)]
    leaf = Paginator(chosen, LANES_PER_PAGE).get_page(asked.get("leaf"))
    listed = [each.ordinal for each in leaf.object_list]
    tasks = selectors.shown_tasks(Task.objects.filter(round=row, participation__ordinal__in=listed))
    clock = Clock.of(row, timezone.now())
    return {
        "round": row,
        "newest": newest,
        "lanes": lanes(selectors.tasks_of(user, training, row, tasks), clock, apart),
        "leaf": leaf,
        "choice": choice,
        "choices": counted,
        "count": len(every),
        "marks": marks(row, clock),
        "scatter": scatter(every, apart),
        "rule": RULE,
    }


def whole(text: str, default: int) -> int:
    """A number of a round as an address has it; `default` for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else default


def choices(every: Sequence[Standing], apart: Mapping[int, str]) -> Sequence[tuple[str, int]]:
    """What the lanes may be narrowed to, with how many there are of each."""
    counted: dict[str, int] = {}
    for each in every:
        counted[each.state] = counted.get(each.state, 0) + 1
    conspicuous = sum(each.failed or each.ordinal in apart for each in every)
    return [*sorted(counted.items()), *([(CONSPICUOUS, conspicuous)] if conspicuous else [])]


def _is_chosen(each: Standing, choice: str, apart: Mapping[int, str]) -> bool:
    if choice == CONSPICUOUS:
        return each.failed or each.ordinal in apart
    return not choice or choice == each.state


def lanes(tasks: Sequence[wire.TaskInfo], clock: Clock, apart: Mapping[int, str]) -> Sequence[Lane]:
    """Each client with what it did, on the round's own time, in canonical order."""
    by_client: dict[int, list[wire.TaskInfo]] = {}
    for task in sorted(tasks, key=lambda task: (task.ordinal, task.kind != TaskKind.TRAIN, task.kind)):
        by_client.setdefault(task.ordinal, []).append(task)
    after, length = clock.after, clock.length
    found = []
    for ordinal, (first, *later) in by_client.items():
        stretches = [
            *charts.lane(_steps(first, clock), length),
            *(each for task in later for each in charts.tested(after(task.leased_at), after(task.reported_at), length)),
        ]
        found.append(Lane(first, later, stretches, apart.get(ordinal, "")))
    return found


def _steps(task: wire.TaskInfo, clock: Clock) -> Sequence[tuple[str, float | None]]:
    had, sent = clock.after(task.downloaded_at), clock.after(task.uploaded_at or task.reported_at)
    fetched = [("downloads", had)] if had is not None or task.downloads else []  # what has it already fetches nothing
    return [("waits", clock.after(task.leased_at)), *fetched, ("works", sent), ("sends", clock.after(task.reported_at))]


def _apart(every: Sequence[Standing]) -> Mapping[int, str]:
    norms = {each.ordinal: each.norm for each in every if each.norm is not None}
    return outliers(norms, {each.ordinal: each.cosine for each in every if each.cosine is not None})


def marks(row: Round, clock: Clock) -> Sequence[tuple[float, str]]:
    """Moments of the round that cross all lanes, each with its place."""
    told = ((clock.after(row.closed_at), "closed"), (clock.after(row.aggregated_at), "aggregated"))
    return [
        (round(passed / clock.length * charts.LANE, 2), name)
        for passed, name in told
        if passed is not None and clock.length > 0
    ]


def scatter(every: Sequence[Standing], apart: Mapping[int, str]) -> charts.Scatter | None:
    """The updates by norm and cosine; None where fewer than two have both."""
    found = [
        (each.username, each.norm, each.cosine, each.weight, apart.get(each.ordinal, ""))
        for each in every
        if each.norm is not None and each.cosine is not None
    ]
    return charts.scatter(found) if len(found) > 1 else None
