"""Who has fetched which bytes, and when: in memory, a hint for people, as `accounts.presence` is."""

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from django.utils import timezone

MOST: Final = 20_000
"""That are remembered: a user and the digest of a blob each. More than are fetched at once."""


class Fetch(NamedTuple):
    """The last time that somebody fetched something."""

    begun: datetime
    done: datetime | None
    """When the last byte was given; None: it goes on, or was broken off."""


_known: OrderedDict[tuple[UUID, str], Fetch] = OrderedDict()


def begin(user_id: UUID, digest: str) -> Callable[[], None]:
    """The first byte is asked for, or more of them. Returns what is to be called when the last one was given."""
    who = user_id, digest
    _known[who] = Fetch(timezone.now(), None)
    _known.move_to_end(who)
    while len(_known) > MOST:
        _known.popitem(last=False)

    def end() -> None:
        if who in _known:
            _known[who] = _known[who]._replace(done=timezone.now())

    return end


def last(user_id: UUID, digest: str) -> Fetch | None:
    """None where it is not known, as after a restart."""
    return _known.get((user_id, digest))
