"""From the message that asks for a training to the service that makes it: whose the names and ids in it are."""

from collections.abc import Callable
from functools import partial
from uuid import UUID

from django.utils import timezone

from hansa.server.accounts.models import User
from hansa.server.lifecycle.bridge import read
from hansa.server.lifecycle.errors import NotFoundError
from hansa.server.registry.selectors import owned_model
from hansa.server.trainings import naming
from hansa.server.trainings.asking import Wanted
from hansa.server.trainings.models import Training
from hansa.server.trainings.services import trainings


async def creation(user: User, asked: Wanted) -> Callable[[], Training]:
    """What makes the training that is asked for. Raises NotFoundError for a model or a client that is not there."""
    return partial(
        trainings.create,
        actor=user,
        model=await read(owned_model, user, _uuid(asked.model_id, "model")),
        plan=asked.plan,
        clients=await read(naming.to_join, user, asked.clients),
        name=asked.name,
        shorthand=asked.shorthand,
        now=timezone.now(),
    )


def _uuid(text: str, what: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFoundError(f"There is no {what} {text!r}.") from None
