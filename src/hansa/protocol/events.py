"""The event log of a training: what happened, in order, as a page or as a stream that goes on.

GET /api/trainings/<id>/events/?after=7&round=3&client=anna&kind=task.refused,round&limit=100 → EventPage
    …&before=99 instead of `after`: the last ones before that number, still oldest first
GET the same, with `Accept: text/event-stream` → each event as a server-sent event with its number for an id and the
    Event for data: first what came after Last-Event-ID (or `after`), then what comes; each once, in order.

Whoever steers the training sees all of it. A participant sees what happened to the training and its rounds, and to
itself; of others nothing.
"""

from enum import StrEnum
from typing import Any

from hansa.protocol.base import Answer

MAX_EVENTS = 1_000
"""Of one page."""


class EventKind(StrEnum):
    """What can happen. The part before the dot is what it happened to: all of a family are asked for by that."""

    TRAINING_CREATED = "training.created"
    TRAINING_STARTED = "training.started"
    TRAINING_PAUSED = "training.paused"
    """By its actor, by its plan, or because the server's disk is full: the reason says which."""
    TRAINING_RESUMED = "training.resumed"
    TRAINING_GOES_ON = "training.goes_on"
    """By itself, after a pause by its plan."""
    TRAINING_COMPLETED = "training.completed"
    TRAINING_FAILED = "training.failed"
    TRAINING_CANCELLED = "training.cancelled"

    PARTICIPANT_ADDED = "participant.added"
    PARTICIPANT_REMOVED = "participant.removed"
    PARTICIPANT_LEFT = "participant.left"
    PARTICIPANT_EXCLUDED = "participant.excluded"
    """It is asked no more: it has failed as often as the plan allows."""

    ROUND_OPENED = "round.opened"
    ROUND_CLOSED = "round.closed"
    """The list of what counts is written: of updates, or of what else its phase asks for."""
    ROUND_REOPENED = "round.reopened"
    """It collects again: the server has lost bytes of what had come."""
    ROUND_AGGREGATED = "round.aggregated"
    ROUND_PHASE = "round.phase"
    """Its clients are asked for something around its version; `data.phase` is the round's state."""
    ROUND_MOMENTS = "round.moments"
    ROUND_NO_MOMENTS = "round.no_moments"
    ROUND_DONE = "round.done"
    ROUND_ABANDONED = "round.abandoned"

    TASK_LEASED = "task.leased"
    TASK_REPORTED = "task.reported"
    TASK_LATE = "task.late"
    """Reported when its round had closed; it counts in a later one."""
    TASK_REFUSED = "task.refused"
    """What it sent cannot be used; `data.code` is the error's."""
    TASK_FAILED = "task.failed"
    TASK_LOST = "task.lost"
    TASK_CLOSED = "task.closed"
    """Its round went on while it was at work."""
    TASK_ASKED_AGAIN = "task.asked_again"
    """What it had sent is lost on the server's disk."""
    TASK_DROPPED = "task.dropped"
    """Its late update is lost on the server's disk, and is not asked for again."""


class Event(Answer, frozen=True):
    """One event."""

    id: int
    """Its number: events of a training are in the order of their numbers, which have gaps."""
    at: str
    kind: str
    """An `EventKind`; a newer server may have others."""
    text: str
    """What happened, in words."""
    round: int | None = None
    attempt: int | None = None
    client: str | None = None
    """The id of the client whom it concerns, of those whom it concerns one by one."""
    username: str | None = None
    reason: str = ""
    """Of what happened to the training or a round it is told to whoever steers: it may name clients."""
    data: dict[str, Any] = {}  # Any: numbers and texts, by the kind
    """Numbers: `task` (train, evaluate, …), `phase`, `version`, `clients`, `reports`, `late`, `examples`, `bytes`,
    `norm`, `code`, `times`."""


class EventPage(Answer, frozen=True):
    """Events, oldest first."""

    events: list[Event]
    next: int
    """Send it as `after` to get what comes next."""
    more: bool
    """Whether some of that is there already; of a page asked for by `before`, whether there are earlier ones."""
