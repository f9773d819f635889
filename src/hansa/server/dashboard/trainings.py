"""A training's page: where it is and why, who did what in each round, what was learned."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final
from uuid import UUID

import msgspec
from django.contrib import messages
from django.http.response import HttpResponse, HttpResponseBase
from django.utils import timezone
from rest_framework.request import Request

from hansa.rounds.states import TrainingStatus
from hansa.server.accounts.models import User
from hansa.server.accounts.permissions import caller
from hansa.server.dashboard.curves import curves_part
from hansa.server.dashboard.log import log_part
from hansa.server.dashboard.page import Change, Page, Shown, render_part
from hansa.server.dashboard.participants import clients_part
from hansa.server.dashboard.plan_words import told
from hansa.server.dashboard.refusals import plain
from hansa.server.dashboard.rounds import round_part
from hansa.server.dashboard.training_cards import card
from hansa.server.dashboard.versions import versions_part
from hansa.server.lifecycle.bridge import call, read
from hansa.server.lifecycle.errors import NotFoundError, ServiceError
from hansa.server.trainings import events, selectors
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
STANDING: Final = "standing"


class Training(Page):
    """One training."""

    template = "training.html"

    def show(self, user: User, **asked: Any) -> Shown:  # Any: the URL's arguments
        """All parts of it, and the last event before any of them was read: what comes behind it may not be in them."""
        known = events.newest(asked["training_id"])
        shown = standing(user, asked["training_id"])
        for part in dict.fromkeys(_SHOWN.values()):
            shown |= part(self, user, shown)
        return {**shown, "after": known}


class Part(Page):
    """A part of the page, fetched anew: what an event of its training may have changed."""

    def show(self, user: User, **asked: Any) -> Shown:  # Any: as above
        """What that part needs, and the training."""
        part = asked["part"]
        if part != STANDING and part not in _SHOWN:
            raise NotFoundError(f"A training's page has no part {part!r}. There are: {STANDING}, {', '.join(_SHOWN)}.")
        shown = standing(user, asked["training_id"])
        return shown if part == STANDING else {**shown, **_SHOWN[part](self, user, shown)}

    def rendered(self, request: Request, shown: Shown, *, status: int = 200) -> HttpResponse:
        """That part alone."""
        return render_part(request._request, f"dashboard/parts/{self.kwargs['part']}.html", shown)


def standing(user: User, training_id: UUID) -> dict[str, Any]:  # Any: what a template is given
    """Where it is and why, and what the viewer may do. Raises NotFoundError."""
    training = selectors.training_of(user, training_id)
    record = selectors.record_of(user, training)
    steers = user.is_superuser or str(user.id) == record.actor
    return {
        "here": "trainings",
        "card": card(record, timezone.now()),
        "training": training,
        "record": record,
        "steers": steers,
        "moves": [(name, text) for name, (text, states) in MOVES.items() if steers and record.status in states],
        "open": record.status not in (TrainingStatus.COMPLETED, TrainingStatus.CANCELLED),
        "plan": msgspec.json.format(msgspec.json.encode(record.plan), indent=2).decode(),
        "plan_words": told(training.parsed_plan),
    }


_SHOWN: Final[Mapping[str, Callable[[Page, User, Shown], Shown]]] = {
    "round": round_part,
    "updates": round_part,
    "curves": curves_part,
    "versions": versions_part,
    "clients": clients_part,
    "log": log_part,
}
"""Beside where the training is, the parts of its page, which are fetched anew when something happened."""


class Move(Change):
    """A change of a training's state by its actor: a form with one button."""

    stands_on, of = "training-page", ("training_id",)

    async def post(self, request: Request, training_id: UUID, move: str) -> HttpResponseBase:
        """Do it, and show the training; a refusal is shown there."""
        if move not in MOVES:
            raise NotFoundError(f"A training cannot be told to {move!r}: {', '.join(MOVES)}.")
        await read(selectors.steered_training, caller(request), training_id)
        try:
            await call(_service(move, training_id))
        except ServiceError as refusal:
            messages.error(request._request, plain(refusal.detail))
        return self.back()


def _service(move: str, training_id: UUID) -> Callable[[], None]:
    now = timezone.now()
    return {
        "start": partial(services.start, training_id=training_id, now=now),
        "pause": partial(services.pause, training_id=training_id),
        "resume": partial(services.resume, training_id=training_id, now=now),
        "cancel": partial(services.cancel, training_id=training_id, now=now),
    }[move]
