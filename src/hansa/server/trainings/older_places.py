"""Where a request of an older client belongs. It knows a model's id and a round, and nothing of tasks.

The id is the training's model's, or a *local model's*: of an accepted update, known by the id of its TRAIN task. The
round counts from the model's `first_round`, and steps on with the aggregation: while Hansa's round n (from 1) collects
updates it is `first_round + n - 1`, and from its aggregation on `first_round + n`.
"""

from dataclasses import dataclass
from uuid import UUID

from hansa.core.params import ParamSpec
from hansa.protocol.tasks import TaskKind
from hansa.rounds.states import RoundState
from hansa.server.accounts.models import User
from hansa.server.lifecycle.errors import ForbiddenError, NotFoundError
from hansa.server.registry.local_models import LocalModel
from hansa.server.registry.models import Model
from hansa.server.registry.selectors import model_or_local, row_of
from hansa.server.trainings.models import Training

FORM_OVERHEAD = 16 * 2**20
"""Bytes of a form beside the arrays: code, pickles, fields."""


@dataclass(frozen=True, slots=True)
class Place:
    """The training that a client's upload is for."""

    training_id: UUID
    model_id: UUID
    user_id: UUID
    first_round: int
    spec: ParamSpec
    archive_size: int
    """Bytes of the file that the model was made from; 0 if that was safetensors."""

    @property
    def limit(self) -> int:
        """The largest form that can hold an update: an archive may hold arrays that are no part of the state."""
        return 2 * max(self.spec.nbytes, self.archive_size) + 4096 * len(self.spec) + FORM_OVERHEAD

    @property
    def moments_limit(self) -> int:
        """The largest form that can hold two vectors over all params, be it in float64."""
        return 2 * 8 * self.spec.num_params + FORM_OVERHEAD

    def number(self, kind: TaskKind, contract_round: int) -> int:
        """Hansa's number of the round that a client means; below 1 there is none."""
        return contract_round - self.first_round + (1 if kind is TaskKind.TRAIN else 0)

    def contract_round(self, number: int, state: str) -> int:
        """What older clients call round `number` while it is in `state`."""
        return self.first_round + number - (1 if state == RoundState.COLLECTING.value else 0)


def place(user: User, public_id: UUID) -> Place:
    """The training of a model, or of a local model, in which the user takes part.

    Raises NotFoundError for an id that is unknown or not the user's to see, and for a model without a training;
    ForbiddenError for a user who may see it, but takes no part.
    """
    model = _model(user, public_id)
    training = Training.objects.filter(model=model).first()
    if training is None:
        raise NotFoundError(f"Model {public_id} has no training. Create one, and start it.")
    if not training.participations.filter(client=user, active=True).exists():
        raise ForbiddenError(f"You are not a participant of training {training.id}. Its actor may add you.")
    return Place(
        training_id=training.id,
        model_id=model.id,
        user_id=user.id,
        first_round=model.first_round,
        spec=model.param_spec,
        archive_size=model.archive.size if model.archive is not None else 0,
    )


def _model(user: User, public_id: UUID) -> Model:
    named = model_or_local(user, public_id)
    model_id = named.base_id if isinstance(named, LocalModel) else named.id
    return row_of(Model.objects.select_related("archive").defer("archive__checksums"), model_id)
