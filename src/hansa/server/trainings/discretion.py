"""What may be told of clients' measurements.

A mean of one client is that client's own value: it is for the client itself, and for whoever steers the training. Of a
mean of two, each of them knows the other's value: it knows its own, and how much that weighs. From three on a mean
tells nobody a single value, as long as no two of the others put theirs together.
"""

from typing import Final
from uuid import UUID

from hansa.server.accounts.models import User

FEWEST: Final = 3
"""Clients in a mean that is told to somebody who does not steer the training."""


def fewest(viewer: User, actor_id: UUID | str) -> int:
    """How many clients a mean has at least that the viewer may see, in a training of that actor's."""
    return 1 if viewer.is_superuser or str(viewer.id) == str(actor_id) else FEWEST
