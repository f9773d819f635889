"""When clients were last heard of, in memory: a hint for people, not a fact anything depends on.

A client that waits for work writes nothing; without this, thousands of idle clients would each cost a write per poll.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

LATELY: Final = timedelta(seconds=90)
"""A waiting client asks again within a minute: who was heard of since is there."""

_seen: dict[UUID, datetime] = {}
_lost: set[UUID] = set()


def saw(user_id: UUID, now: datetime) -> None:
    """The client asked for work."""
    _seen[user_id] = now
    _lost.discard(user_id)


def lost(user_ids: Iterable[UUID]) -> None:
    """The clients did not do what they had asked for: nothing says any more that they are there, until they ask."""
    _lost.update(user_ids)


def seen_since(user_id: UUID, moment: datetime) -> bool:
    """Whether the client has asked for work after `moment`, and was not lost since."""
    seen = _seen.get(user_id)
    return seen is not None and seen > moment and user_id not in _lost


def forget() -> None:
    """As after a restart: nobody has asked yet."""
    _seen.clear()
    _lost.clear()


def last_seen(user_id: UUID, stored: datetime | None) -> str | None:
    """The later of what is known here and what was stored when it last leased a task; ISO 8601."""
    times = [time for time in (_seen.get(user_id), stored) if time is not None]
    return max(times).isoformat() if times else None
