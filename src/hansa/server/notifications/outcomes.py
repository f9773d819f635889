"""What an attempt to deliver comes to: settled, or to be tried again and when."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from hansa.server.notifications.models import State

DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds between attempts that got no answer. After the last one the receiver is unreachable."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How one attempt ended. PENDING: without an answer, so that another attempt may do better."""

    state: State
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is to be written of a notification after an attempt."""

    id: int
    queue: UUID
    state: State
    reason: str
    attempts: int
    next_attempt_at: datetime | None = None
    """PENDING only."""


def outcome_of(*, id: int, queue: UUID, attempts: int, answer: Answer, now: datetime) -> Outcome:  # noqa: A002  # the row's
    """The outcome of one more attempt after `attempts` earlier ones."""
    made = attempts + 1
    if answer.state is not State.PENDING:
        return Outcome(id, queue, answer.state, answer.reason, made)
    if attempts >= len(DELAYS):
        return Outcome(id, queue, State.UNREACHABLE, f"{answer.reason} ({made} attempts)", made)
    return Outcome(id, queue, State.PENDING, answer.reason, made, now + timedelta(seconds=DELAYS[attempts]))
