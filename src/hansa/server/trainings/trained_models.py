"""The models of a training: the global one, and the local ones that came of its rounds as far as they are kept.

Participants see the global model, their own local ones, and one they were given to go on from; the actor sees all.
"""

from uuid import UUID

from hansa.protocol import models as wire
from hansa.server.accounts.models import User
from hansa.server.registry import local_models
from hansa.server.registry import records as model_records
from hansa.server.registry.local_models import LocalModel
from hansa.server.registry.models import Model
from hansa.server.trainings.models import Training
from hansa.server.trainings.selectors import training_of


def models(user: User, training_id: UUID) -> list[wire.Model]:
    """The global model, then its local ones, oldest first. Raises NotFoundError as `training_of`."""
    training = training_of(user, training_id)
    return _shown(training, local_models.of_model(user, training.model))


def latest(user: User, training_id: UUID) -> list[wire.Model]:
    """The global model, then of every client that has sent one its newest. Raises NotFoundError as `training_of`."""
    training = training_of(user, training_id)
    newest = {each.owner_id: each for each in local_models.of_model(user, training.model)}
    return _shown(training, list(newest.values()))


def _shown(training: Training, found: list[LocalModel]) -> list[wire.Model]:
    return [
        *model_records.globals_of(Model.objects.filter(id=training.model_id)),
        *model_records.locals_of(found),
    ]
