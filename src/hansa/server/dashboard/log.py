"""The event log of a training: the newest events on its page, and pages of older ones, newest first.

Both are narrowed by what happened, whom it concerns and the round, and turned over by links. Who may see which events
is `trainings.events`' to say.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from django.http import QueryDict

from hansa.protocol import events as wire
from hansa.protocol.events import EventKind
from hansa.server.accounts.models import User
from hansa.server.dashboard.page import Page, Shown
from hansa.server.dashboard.participants import SUGGESTED
from hansa.server.dashboard.rounds import whole
from hansa.server.dashboard.titles import title
from hansa.server.trainings import events, selectors
from hansa.server.trainings.models import Training

NEWEST_EVENTS: Final = 60
"""On the training's own page."""
EVENTS_PER_PAGE: Final = 100
LAST_NUMBER: Final = 2**53


def _family(name: str) -> frozenset[str]:
    return frozenset(kind.value for kind in EventKind if kind.value.partition(".")[0] == name)


WHAT: Final[Mapping[str, tuple[str, frozenset[str]]]] = {
    "trouble": (
        "trouble",
        frozenset(
            kind.value
            for kind in (
                *(EventKind.TRAINING_FAILED, EventKind.PARTICIPANT_EXCLUDED, EventKind.ROUND_ABANDONED),
                *(EventKind.ROUND_REOPENED, EventKind.ROUND_NO_MOMENTS, EventKind.TASK_REFUSED, EventKind.TASK_FAILED),
                *(EventKind.TASK_LOST, EventKind.TASK_ASKED_AGAIN, EventKind.TASK_DROPPED),
            )
        ),
    ),
    "training": ("starts, pauses and ends", _family("training")),
    "participant": ("who joins and leaves", _family("participant")),
    "round": ("rounds", _family("round")),
    "task": ("what clients do", _family("task")),
    "refused": ("refused results", frozenset({EventKind.TASK_REFUSED.value})),
    "failed": ("failures and losses", frozenset({EventKind.TASK_FAILED.value, EventKind.TASK_LOST.value})),
    "late": ("late updates", frozenset({EventKind.TASK_LATE.value, EventKind.TASK_DROPPED.value})),
}
"""What the log may be narrowed to: in an address, in words, and the kinds of events it stands for."""


@dataclass(frozen=True, slots=True)
class Narrowed:
    """Which events a page's address asks for."""

    what: str
    client: str
    of_round: int | None

    @classmethod
    def by(cls, asked: QueryDict) -> "Narrowed":
        """What is no choice, and no number, narrows nothing."""
        what = asked.get("what", "")
        of_round = whole(asked.get("of_round", ""), 0)
        return cls(what if what in WHAT else "", asked.get("client", ""), of_round or None)

    @property
    def wanted(self) -> events.Wanted:
        """For the log."""
        kinds = WHAT[self.what][1] if self.what else frozenset[str]()
        return events.Wanted(round=self.of_round, client=self.client, kinds=kinds)

    @property
    def query(self) -> str:
        """As an address has it."""
        given = {"what": self.what, "client": self.client, "of_round": self.of_round}
        return urlencode({name: value for name, value in given.items() if value})


def log_part(page: Page, user: User, shown: Shown) -> Shown:
    """The newest events; those that are asked for, where that is narrowed."""
    narrowed = Narrowed.by(page.request.query_params)
    names = [client.username for client in shown["record"].clients] if shown["steers"] else [user.username]
    found = _events(user, shown["training"], narrowed, names, before=LAST_NUMBER, limit=NEWEST_EVENTS)
    return _shown(narrowed, names, found)


class Events(Page):
    """A page of the log, as far back as it goes: `before` an event's number, or the newest."""

    template = "events.html"

    def show(self, user: User, **asked: Any) -> Shown:  # Any: the URL's arguments
        """What was asked for, as far as it is the user's to see."""
        training = selectors.training_of(user, asked["training_id"])
        narrowed = Narrowed.by(self.request.query_params)
        names = _names(user, training)
        before = _number(self.request.query_params.get("before", ""))
        found = _events(user, training, narrowed, names, before=before or LAST_NUMBER, limit=EVENTS_PER_PAGE)
        return {
            "here": "trainings",
            "title": title(training.name, training.id),
            "record": training,
            "before": before,
            **_shown(narrowed, names, found),
        }


def _names(user: User, training: Training) -> Sequence[str]:
    """Of those whose events the user may see."""
    if not selectors.steers(user, training):
        return [user.username]
    return list(training.participations.order_by("ordinal").values_list("client__username", flat=True))


def _events(
    user: User, training: Training, narrowed: Narrowed, names: Sequence[str], *, before: int, limit: int
) -> wire.EventPage:
    if narrowed.client and narrowed.client not in names:
        return wire.EventPage(events=[], next=0, more=False)
    return events.before(user, training.id, narrowed.wanted, number=before, limit=limit)


def _shown(narrowed: Narrowed, names: Sequence[str], found: wire.EventPage) -> Shown:
    stranger = narrowed.client if narrowed.client and narrowed.client not in names else ""
    older = f"before={found.events[0].id}" if found.more and found.events else ""
    return {
        "events": found.events[::-1],
        "older": "&".join(filter(None, (narrowed.query, older))) if older else "",
        "narrowed": narrowed,
        "what": [(name, words) for name, (words, _) in WHAT.items()],
        "names": names[:SUGGESTED],
        "stranger": stranger,
    }


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 17 else None
