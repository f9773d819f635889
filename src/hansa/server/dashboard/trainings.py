"""A training's page: where it is and why, who did what in each round, what was learned."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final
from uuid import UUID

import msgspec
from django.contrib import messages
from django.http.response import HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from rest_framework.request import Request

from hansa.rounds.states import TrainingStatus
from hansa.server.accounts.models import User
from hansa.server.accounts.permissions import caller
from hansa.server.dashboard.overview import card
from hansa.server.dashboard.page import Page, Shown
from hansa.server.lifecycle.bridge import call, read
from hansa.server.lifecycle.errors import NotFoundError, ServiceError
from hansa.server.trainings import selectors
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


class Training(Page):
    """One training."""

    template = "training.html"

    def show(self, user: User, **asked: Any) -> Shown:  # Any: the URL's arguments
        """The record, the newest round, and what the viewer may do."""
        record = selectors.record(user, asked["training_id"])
        newest = selectors.round_detail(user, asked["training_id"], record.round) if record.round else None
        steers = user.is_superuser or str(user.id) == record.actor
        return {
            "here": "trainings",
            "card": card(record, timezone.now()),
            "record": record,
            "newest": newest,
            "steers": steers,
            "moves": [(name, text) for name, (text, states) in MOVES.items() if steers and record.status in states],
            "plan": msgspec.json.format(msgspec.json.encode(record.plan), indent=2).decode(),
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
