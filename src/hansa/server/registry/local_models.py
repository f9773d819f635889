"""Local models: the accepted updates of rounds, seen as models.

Their rows are the trainings' business; from here they are reached through the versions that they were trained from.
The id of a local model is that of the task it was made for.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Case, F, Q, QuerySet, When

from hansa.protocol.tasks import TaskKind
from hansa.server.accounts.models import User
from hansa.server.blobs.services import SAFETENSORS
from hansa.server.registry.models import Model, ModelVersion


@dataclass(frozen=True, slots=True)
class LocalModel:
    """One client's model after one round."""

    id: UUID
    owner_id: UUID
    """The client that trained it."""
    base_id: UUID
    """The global model."""
    training_id: UUID
    round_number: int
    sample_size: int
    digest: str | None
    """Of its params, for as long as they are kept; None as well where the client sent no model but what changed."""
    size: int
    received_at: datetime

    @property
    def why_not_here(self) -> str:
        """Of one without a digest."""
        return (
            f"The params of the local model {self.id} are no longer kept, as its round is over (a plan with "
            "'keep_updates' keeps them longer), or were never here whole, as its client sent them in the plan's "
            "'encoding'."
        )


_FIELDS = (
    "updates_from__task_id",
    "updates_from__task__participation__client_id",
    "model_id",
    "updates_from__task__round__training_id",
    "updates_from__task__round__number",
    "updates_from__num_examples",
    "params",
    "updates_from__size",
    "updates_from__received_at",
)
_PARAMS = Case(When(updates_from__blob__media_type=SAFETENSORS, then=F("updates_from__blob_id")))
"""An update that was sent in another form is a model only together with the version that it was trained from."""


def visible(user: User) -> Q:
    """Whose local model it is, whose training, and who is to go on from it (daisy chaining)."""
    if user.is_superuser:
        return Q()
    return (
        Q(updates_from__task__participation__client=user)
        | Q(updates_from__task__round__training__actor=user)
        | Q(updates_from__sent_to__participation__client=user, updates_from__sent_to__participation__active=True)
    )


def found(user: User, model_id: UUID) -> LocalModel | None:
    """One local model, if the user may see it."""
    return next(iter(_loaded(visible(user) & Q(updates_from__task_id=model_id))), None)


def kept_of(user: User) -> list[LocalModel]:
    """The user's own local models whose params are kept, oldest first."""
    return _loaded(Q(updates_from__task__participation__client=user, updates_from__blob__media_type=SAFETENSORS))


def of_model(user: User, model: Model) -> list[LocalModel]:
    """The kept local models of a global model that the user may see, oldest first."""
    return _loaded(visible(user) & Q(model=model, updates_from__blob__media_type=SAFETENSORS))


def _loaded(condition: Q) -> list[LocalModel]:
    # One call of filter(): each further one would join the updates anew, and speak of another of them.
    rows: QuerySet[ModelVersion] = ModelVersion.objects.filter(
        condition, updates_from__task__kind=TaskKind.TRAIN.value
    ).order_by("updates_from__received_at", "updates_from__id")
    return [LocalModel(*row) for row in rows.annotate(params=_PARAMS).values_list(*_FIELDS).distinct()]
