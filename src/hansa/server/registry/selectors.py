"""Who may see which model, and the rows of those.

A model may be seen by its owner, by the actor of its training, and by that training's active participants; a local
model by whom `local_models` names. A person without that right is told that there is no such model.
"""

from collections.abc import Sequence
from uuid import UUID

from django.db.models import IntegerField, Max, OuterRef, Q, QuerySet, Subquery, UUIDField

from hansa.protocol import models as wire
from hansa.rounds.states import RoundState
from hansa.server.accounts.models import User
from hansa.server.blobs.models import Blob
from hansa.server.lifecycle.errors import ConflictError, ForbiddenError, NotFoundError
from hansa.server.prepared import Rows, Slot
from hansa.server.registry import calibrations, local_models
from hansa.server.registry.local_models import LocalModel
from hansa.server.registry.models import Model, ModelKind, ModelVersion

MAX_INTEGER = 2**31 - 1
"""Of a number in a row; no version has a higher one."""
_BEHIND = (
    RoundState.AGGREGATED.value,
    RoundState.SWAG.value,
    RoundState.COMBINING.value,
    RoundState.COMBINED.value,
    RoundState.EVALUATING.value,
    RoundState.CALIBRATING.value,
    RoundState.DONE.value,
)
"""A round in one of these states counts as behind its model: its version is there, or it was handed on."""


def visible(user: User) -> QuerySet[Model]:
    """The models the user may see, without local ones."""
    return Model.objects.all() if user.is_superuser else _visible_to(user.id)


def _visible_to(user_id: UUID | Slot) -> QuerySet[Model]:
    theirs = {"training__participations__client_id": user_id, "training__participations__active": True}
    taking_part = Model.objects.filter(**theirs).values("id")
    return Model.objects.filter(Q(owner_id=user_id) | Q(training__actor_id=user_id) | Q(id__in=taking_part))


_MODEL_OF = Rows(lambda: _visible_to(Slot("user", UUIDField())).filter(id=Slot("model", UUIDField())))
_ANY_MODEL = Rows(lambda: Model.objects.filter(id=Slot("model", UUIDField())))


def _seen(user: User, model_id: UUID) -> Model | None:
    """Of `visible` the one, by a statement that is compiled already: every question to a model begins with it."""
    if user.is_superuser:
        return _ANY_MODEL.first(model=model_id)
    return _MODEL_OF.first(user=user.id, model=model_id)


def model_of(user: User, model_id: UUID) -> Model:
    """One model, not a local one. Raises NotFoundError for one that is unknown or not the user's to see."""
    model = _seen(user, model_id)
    if model is None:
        raise _unknown(model_id)
    return model


def model_or_local(user: User, model_id: UUID) -> Model | LocalModel:
    """One model, global or local. Raises NotFoundError for one that is unknown or not the user's to see."""
    model = _seen(user, model_id) or local_models.found(user, model_id)
    if model is None:
        raise _unknown(model_id)
    return model


def row_of(models: QuerySet[Model], model_id: UUID) -> Model:
    """One of these models, which was seen before. Raises NotFoundError if it was deleted since."""
    model = models.filter(id=model_id).first()
    if model is None:
        raise _unknown(model_id)
    return model


def owned(user: User) -> QuerySet[Model]:
    """The models that are the user's own: those that a training may be made of."""
    return Model.objects.filter(owner=user)


def owned_model(user: User, model_id: UUID) -> Model:
    """A model the user may train or change. Raises NotFoundError, or ForbiddenError if it may only be seen."""
    model = model_of(user, model_id)
    if model.owner_id != user.id and not user.is_superuser:
        raise ForbiddenError(
            "You are not the owner of this model. Ask them to do it, or upload a model of your own: POST /api/models/."
        )
    return model


def owned_models(user: User, model_ids: Sequence[UUID]) -> list[Model]:
    """The models a mean may be made of, in the order of their ids. Raises as `owned_model`, naming the first."""
    found = {model.id: model for model in visible(user).filter(id__in=model_ids)}
    for model_id in model_ids:
        if model_id not in found:
            raise _unknown(model_id)
        if found[model_id].owner_id != user.id and not user.is_superuser:
            raise ForbiddenError(f"You are not the owner of model {model_id}. A mean is made of models of one's own.")
    return [found[model_id] for model_id in model_ids]


def deletable_model(user: User, model_id: UUID) -> Model:
    """A model the user may delete: its owner and the actor of its training may.

    Raises NotFoundError, ForbiddenError, and ConflictError for a local model.
    """
    model = model_or_local(user, model_id)
    if isinstance(model, LocalModel):
        raise ConflictError(
            "A local model is the record of what its client sent in a round; it goes with its training."
        )
    if model.owner_id != user.id and not is_actor(user, model.id) and not user.is_superuser:
        raise ForbiddenError(
            "You are neither the owner of this model nor the actor of its training. Ask one of them to delete it."
        )
    return model


def measured_model(user: User, model_id: UUID) -> Model:
    """A model of which the user may report metrics: whoever may see it. Raises ConflictError for a local model."""
    model = model_or_local(user, model_id)
    if isinstance(model, LocalModel):
        raise ConflictError(
            f"{model_id} is a local model, and its metrics came with it. Report what was measured of the global model "
            f"{model.base_id}."
        )
    return model


def is_actor(user: User, model_id: UUID) -> bool:
    """Whether the model is trained in a training of the user."""
    return Model.objects.filter(id=model_id, training__actor=user).exists()


def _unknown(model_id: UUID) -> NotFoundError:
    return NotFoundError(f"There is no model {model_id}, or it is not yours to see. GET /api/models/ lists yours.")


def with_progress(models: QuerySet[Model]) -> QuerySet[Model]:
    """Add `newest`, the number of the newest version, and `behind`, the number of the newest round that is behind."""
    versions = ModelVersion.objects.filter(model=OuterRef("pk"), lost="").order_by("-number").values("number")
    rounds = _with_rounds_behind(OuterRef("pk")).values("training__rounds__number")
    return models.annotate(newest=Subquery(versions[:1]), behind=Subquery(rounds[:1]))


def rounds_behind(model_id: UUID) -> int:
    """How many rounds of its training are behind the model."""
    return _with_rounds_behind(model_id).values_list("training__rounds__number", flat=True).first() or 0


def _with_rounds_behind(pk: UUID | OuterRef) -> QuerySet[Model]:
    """The model once for every round behind it, the newest first: rounds are rows of which nothing here knows."""
    return Model.objects.filter(pk=pk, training__rounds__state__in=_BEHIND).order_by("-training__rounds__number")


def versions(user: User, model_id: UUID) -> list[wire.ModelVersion]:
    """All versions of a model, oldest first."""
    model_of(user, model_id)
    rows = (
        ModelVersion.objects.filter(model_id=model_id)
        .select_related("blob", "parent", "calibration")
        .defer("blob__checksums", "calibration__scores")
    )
    return [_version_record(row) for row in rows.order_by("number")]


def version(user: User, model_id: UUID, number: int) -> wire.ModelVersion:
    """One version. Raises NotFoundError naming the numbers there are."""
    return _version_record(version_row(model_of(user, model_id), number))


_FILE = Rows(
    lambda: Blob.objects.filter(
        versions__number=Slot("number", IntegerField()),
        versions__model__in=_visible_to(Slot("user", UUIDField())).filter(id=Slot("model", UUIDField())).values("id"),
    )
)
"""What every client of every round asks for."""


def version_file(user: User, model_id: UUID, number: int) -> Blob:
    """The file of a version. Raises NotFoundError as `version` does."""
    is_storable = number <= MAX_INTEGER and not user.is_superuser
    found = _FILE.first(user=user.id, model=model_id, number=number) if is_storable else None
    return found if found is not None else Blob.objects.get(versions=version_row(model_of(user, model_id), number))


def _versions() -> QuerySet[ModelVersion]:
    rows = ModelVersion.objects.filter(model=Slot("model", UUIDField()))
    rows = rows.select_related("blob", "parent", "calibration").order_by("-number")
    return rows.defer("blob__checksums", "calibration__scores")


_NEWEST = Rows(lambda: _versions().filter(lost="")[:1])
_NUMBERED = Rows(lambda: _versions().filter(number=Slot("number", IntegerField()))[:1])


def version_row(model: Model, number: int | None) -> ModelVersion:
    """One version of a model, None: the newest. Raises NotFoundError naming the numbers there are."""
    row = None
    if number is None:
        row = _NEWEST.first(model=model.id)
    elif number <= MAX_INTEGER:
        row = _NUMBERED.first(model=model.id, number=number)
    if row is None:
        newest = ModelVersion.objects.filter(model=model).aggregate(newest=Max("number"))["newest"]
        if newest is None and model.kind != ModelKind.MEAN:
            raise _unknown(model.id)
        if newest is None:
            raise NotFoundError("The model has no versions of its own: it is a mean of others.")
        raise NotFoundError(f"The model has no version {number}; it has 0 to {newest}.")
    return row


def moments(user: User, model_id: UUID, number: int) -> Blob:
    """The file of a version's SWAG moments. Raises NotFoundError, saying so where the version has none."""
    row = version_row(model_of(user, model_id), number)
    if row.moments is None:
        with_moments = ModelVersion.objects.filter(model=row.model_id, moments__isnull=False).order_by("number")
        others = ", ".join(map(str, with_moments.values_list("number", flat=True)))
        raise NotFoundError(
            f"Version {number} has no SWAG moments. "
            + (f"There are moments of version {others}." if others else "They are gathered by a plan with SWAG.")
        )
    return row.moments


def _version_record(row: ModelVersion) -> wire.ModelVersion:
    parent = row.parent
    return wire.ModelVersion(
        model=str(row.model_id),
        number=row.number,
        digest=row.blob_id,
        size=row.blob.size,
        parent=f"{parent.model_id}/{parent.number}" if parent is not None else None,
        created_at=row.created_at.isoformat(),
        calibration=calibrations.record(row),
    )
