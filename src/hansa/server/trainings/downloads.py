"""When clients had what their tasks begin from: in memory, until the task's row is written for another reason.

A write of its own for each download would cost as much as a heartbeat, and it is for people alone. What a server that
is killed forgets is not told.
"""

from collections import OrderedDict
from datetime import datetime
from uuid import UUID

from hansa.server.blobs import fetches

_wanted: OrderedDict[UUID, tuple[UUID, str]] = OrderedDict()
"""By task its client, and the digest of what it begins from."""


def expect(task_id: UUID, client_id: UUID, digest: str) -> None:
    """The client was given the task, and will fetch that."""
    _wanted[task_id] = client_id, digest
    _wanted.move_to_end(task_id)
    while len(_wanted) > fetches.MOST:
        _wanted.popitem(last=False)


def done_at(task_id: UUID, stored: datetime | None) -> datetime | None:
    """When the client had all of it; `stored`: what the task's row says."""
    found = _fetch(task_id)
    return stored if found is None or found.done is None else found.done


def goes_on(task_id: UUID) -> bool:
    """Whether the client has asked for it, and has not all of it."""
    found = _fetch(task_id)
    return found is not None and found.done is None


def _fetch(task_id: UUID) -> fetches.Fetch | None:
    wanted = _wanted.get(task_id)
    return None if wanted is None else fetches.last(*wanted)
