"""Reads of models, each with its permission filter.

A model may be seen by its owner, by the actor of its training, and by that training's active participants; a person
without that right is told that there is no such model.
"""

from uuid import UUID

import msgspec
from django.db.models import Max, Prefetch, Q, QuerySet

from hansa.protocol import models as wire
from hansa.server.accounts.models import User
from hansa.server.lifecycle.errors import ForbiddenError, NotFoundError
from hansa.server.registry.models import Metric, Model, ModelVersion


def visible(user: User) -> QuerySet[Model]:
    """The models the user may see."""
    if user.is_superuser:
        return Model.objects.all()
    involved = Q(training__participations__client=user, training__participations__active=True)
    return Model.objects.filter(Q(owner=user) | Q(training__actor=user) | involved).distinct()


def model_of(user: User, model_id: UUID) -> Model:
    """One model. Raises NotFoundError for one that is unknown or not the user's to see."""
    model = visible(user).filter(id=model_id).first()
    if model is None:
        raise NotFoundError(f"There is no model {model_id}, or it is not yours to see.")
    return model


def owned_model(user: User, model_id: UUID) -> Model:
    """A model the user may train or delete. Raises NotFoundError, or ForbiddenError if it may only be seen."""
    model = model_of(user, model_id)
    if model.owner_id != user.id and not user.is_superuser:
        raise ForbiddenError("You are not the owner of this model.")
    return model


def records(user: User) -> list[wire.Model]:
    """All models the user may see, without their arrays, of which there may be very many."""
    return [
        msgspec.structs.replace(_record(model), arrays=[])
        for model in _with_newest(visible(user)).order_by("created_at")
    ]


def record(user: User, model_id: UUID) -> wire.Model:
    """One model's record."""
    model_of(user, model_id)
    return _record(_with_newest(Model.objects.filter(id=model_id)).get())


def _with_newest(models: QuerySet[Model]) -> QuerySet[Model]:
    first = Prefetch("versions", ModelVersion.objects.filter(number=0).select_related("blob"), to_attr="first")
    return models.annotate(newest=Max("versions__number")).select_related("training").prefetch_related(first)


def _record(model: Model) -> wire.Model:
    spec = model.param_spec
    training = getattr(model, "training", None)
    return wire.Model(
        id=str(model.id),
        owner=str(model.owner_id),
        name=model.name,
        description=model.description,
        kind=model.kind,
        round=getattr(model, "newest", 0),
        num_params=spec.num_params,
        size=getattr(model, "first")[0].blob.size,  # noqa: B009  # an attribute that only the prefetch adds
        arrays=[
            wire.ArrayInfo(name=array.name, dtype=array.dtype, shape=list(array.shape), kind=array.kind.value)
            for array in spec
        ],
        training=str(training.id) if training is not None else None,
        created_at=model.created_at.isoformat(),
    )


def versions(user: User, model_id: UUID) -> list[wire.ModelVersion]:
    """All versions of a model, oldest first."""
    model_of(user, model_id)
    rows = ModelVersion.objects.filter(model_id=model_id).select_related("blob", "parent").defer("blob__checksums")
    return [_version_record(row) for row in rows.order_by("number")]


def version(user: User, model_id: UUID, number: int) -> wire.ModelVersion:
    """One version. Raises NotFoundError naming the numbers there are."""
    model_of(user, model_id)
    rows = ModelVersion.objects.filter(model_id=model_id)
    row = rows.filter(number=number).select_related("blob", "parent").defer("blob__checksums").first()
    if row is None:
        newest = rows.aggregate(newest=Max("number"))["newest"]
        raise NotFoundError(f"The model has no version {number}; it has 0 to {newest}.")
    return _version_record(row)


def _version_record(row: ModelVersion) -> wire.ModelVersion:
    parent = row.parent
    return wire.ModelVersion(
        model=str(row.model_id),
        number=row.number,
        digest=row.blob_id,
        size=row.blob.size,
        parent=f"{parent.model_id}/{parent.number}" if parent is not None else None,
        created_at=row.created_at.isoformat(),
    )


def metrics(user: User, model_id: UUID) -> list[wire.Metric]:
    """A model's metrics, oldest first: all for its owner and its training's actor, their own for participants."""
    model = model_of(user, model_id)
    sees_all = user.is_superuser or model.owner_id == user.id or _is_actor(user, model)
    rows = Metric.objects.filter(model_id=model_id, **({} if sees_all else {"reporter": user}))
    return [
        wire.Metric(
            id=row.id,
            model=str(row.model_id),
            step=row.step,
            key=row.key,
            value=row.value,
            reporter=str(row.reporter_id),
            kind=row.kind,
        )
        for row in rows.order_by("id")
    ]


def _is_actor(user: User, model: Model) -> bool:
    return Model.objects.filter(id=model.id, training__actor=user).exists()
