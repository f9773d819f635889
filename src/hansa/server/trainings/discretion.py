"""What may be told of clients' measurements. A mean of one client is that client's own value: it is for the client
itself, and for whoever steers the training.
"""

from uuid import UUID

from hansa.server.accounts.models import User


def fewest(viewer: User, actor_id: UUID | str) -> int:
    """How many clients a mean has at least that the viewer may see, in a training of that actor's."""
    return 1 if viewer.is_superuser or str(viewer.id) == str(actor_id) else 2
