"""A training's page: where it is and why, who did what in each round, what was learned."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

import msgspec
from django.contrib import messages
from django.http.response import HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from rest_framework.request import Request

from hansa.protocol import trainings as wire
from hansa.protocol.tasks import TaskKind
from hansa.rounds.states import TrainingStatus
from hansa.server.accounts.models import User
from hansa.server.accounts.permissions import caller
from hansa.server.dashboard import charts
from hansa.server.dashboard.overview import card
from hansa.server.dashboard.page import Page, Shown, render
from hansa.server.lifecycle.bridge import call, read
from hansa.server.lifecycle.errors import NotFoundError, ServiceError
from hansa.server.trainings import events, selectors, summaries
from hansa.server.trainings.services import trainings as services

MOVES: Final[Mapping[str, tuple[str, frozenset[TrainingStatus]]]] = {
    "start": ("Start", frozenset({TrainingStatus.INITIAL})),
    "pause": ("Pause", frozenset({TrainingStatus.ONGOING})),
    "resume": ("Resume", frozenset({TrainingStatus.PAUSED, TrainingStatus.ERROR})),
    "cancel": (
        "Cancel",
        frozenset({TrainingStatus.INITIAL, TrainingStatus.ONGOING, TrainingStatus.PAUSED, TrainingStatus.ERROR}),
    ),
}
"""What the actor may do: the button, and in which states there is one."""


PARTS: Final = ("standing", "round", "curves", "clients", "log")
"""What is fetched anew when something happened."""
NEWEST_EVENTS = 60
LAST_NUMBER: Final = 2**53


class Training(Page):
    """One training."""

    template = "training.html"

    def show(self, user: User, **asked: Any) -> Shown:  # Any: the URL's arguments
        """All parts of it, and the last event before any of them was read: what comes behind it may not be in them."""
        known = events.before(user, asked["training_id"], events.Wanted(), number=LAST_NUMBER, limit=1)
        shown = standing(user, asked["training_id"])
        for part in PARTS[1:]:
            shown |= _SHOWN[part](self, user, shown)
        return {**shown, "after": known.events[0].id if known.events else 0}


class Part(Page):
    """A part of the page, fetched anew: what an event of its training may have changed."""

    def show(self, user: User, **asked: Any) -> Shown:  # Any: as above
        """What that part needs, and the training."""
        part = asked["part"]
        if part not in PARTS:
            raise NotFoundError(f"A training's page has no part {part!r}. There are: {', '.join(PARTS)}.")
        shown = standing(user, asked["training_id"])
        return shown if part == PARTS[0] else {**shown, **_SHOWN[part](self, user, shown)}

    def rendered(self, request: Request, shown: Shown, *, status: int = 200) -> HttpResponse:
        """That part alone."""
        return render(request._request, f"dashboard/parts/{self.kwargs['part']}.html", shown, status=status)


def standing(user: User, training_id: UUID) -> dict[str, Any]:  # Any: what a template is given
    """Where it is and why, and what the viewer may do. Raises NotFoundError."""
    record = selectors.record(user, training_id)
    steers = user.is_superuser or str(user.id) == record.actor
    return {
        "here": "trainings",
        "card": card(record, timezone.now()),
        "record": record,
        "steers": steers,
        "moves": [(name, text) for name, (text, states) in MOVES.items() if steers and record.status in states],
        "plan": msgspec.json.format(msgspec.json.encode(record.plan), indent=2).decode(),
    }


def _round(page: Page, user: User, shown: Shown) -> Shown:
    """The round that is asked for, or the newest: a lane for each of its tasks."""
    record = shown["record"]
    wanted = page.request.query_params.get("round", "")
    number = int(wanted) if wanted.isascii() and wanted.isdecimal() and len(wanted) < 9 else record.round
    if not record.round:
        return {"round": None}
    found = selectors.round_detail(user, UUID(record.id), number)
    return {"round": found, "newest": record.round, "lanes": lanes(found, timezone.now())}


def lanes(of: wire.Round, now: datetime) -> Sequence[tuple[wire.TaskInfo, Sequence[charts.Stretch]]]:
    """Each task with what its client did, on the round's own time."""
    opened = datetime.fromisoformat(of.opened_at)
    ends = [datetime.fromisoformat(moment) for moment in (of.done_at,) if moment]
    whole = ((ends[0] if ends else now) - opened).total_seconds()

    def after(moment: str | None) -> float | None:
        return None if moment is None else (datetime.fromisoformat(moment) - opened).total_seconds()

    def sent(task: wire.TaskInfo) -> float | None:
        return after(task.uploaded_at or task.reported_at)  # an evaluation sends nothing but its report

    tasks = sorted(of.tasks or (), key=lambda task: (task.ordinal, task.kind != TaskKind.TRAIN))
    return [(task, charts.lane([after(task.leased_at), sent(task), after(task.reported_at)], whole)) for task in tasks]


def _curves(page: Page, user: User, shown: Shown) -> Shown:
    """Every metric over the rounds: what the clients tested first."""
    points: dict[tuple[str, str], list[charts.Point]] = defaultdict(list)
    for row in selectors.metrics(user, UUID(shown["record"].id)):
        for kind, measured in (("evaluate", row.evaluate), ("train", row.train)):
            for key, spread in measured.items():
                points[kind, key].append(charts.Point(row.round, spread.mean, spread.minimum, spread.maximum))
    names = sorted(points, key=summaries.preference)
    return {"curves": [(kind, charts.curve(key, points[kind, key])) for kind, key in names]}


def _log(page: Page, user: User, shown: Shown) -> Shown:
    """The newest events, newest first; those of one client or round, where that is asked for."""
    asked = page.request.query_params
    number = asked.get("of_round", "")
    of_round = int(number) if number.isascii() and number.isdecimal() and len(number) < 9 else None
    named = {client.username for client in shown["record"].clients}
    client = asked.get("client", "") if asked.get("client", "") in named else ""
    wanted = events.Wanted(round=of_round, client=client)
    page_of = events.before(user, UUID(shown["record"].id), wanted, number=LAST_NUMBER, limit=NEWEST_EVENTS)
    return {"events": page_of.events[::-1], "earlier": page_of.more, "of_round": of_round, "client": client}


_SHOWN: Final[Mapping[str, Callable[[Page, User, Shown], Shown]]] = {
    "round": _round,
    "curves": _curves,
    "clients": lambda page, user, shown: {},
    "log": _log,
}


class Move(Page):
    """A change of a training's state by its actor: a form with one button."""

    async def post(self, request: Request, training_id: UUID, move: str) -> HttpResponseBase:
        """Do it, and show the training; a refusal is shown there."""
        if move not in MOVES:
            raise NotFoundError(f"A training cannot be told to {move!r}: {', '.join(MOVES)}.")
        await read(selectors.steered_training, caller(request), training_id)
        try:
            await call(_service(move, training_id))
        except ServiceError as refusal:
            messages.error(request._request, refusal.detail)
        return HttpResponseRedirect(reverse("training-page", args=[training_id]))

    async def get(self, request: Request, **asked: Any) -> HttpResponseBase:  # Any: as above
        """Nothing is changed by looking."""
        return HttpResponseRedirect(reverse("training-page", args=[asked["training_id"]]))


def _service(move: str, training_id: UUID) -> Callable[[], None]:
    now = timezone.now()
    return {
        "start": partial(services.start, training_id=training_id, now=now),
        "pause": partial(services.pause, training_id=training_id),
        "resume": partial(services.resume, training_id=training_id, now=now),
        "cancel": partial(services.cancel, training_id=training_id, now=now),
    }[move]
