"""The records of models, as the API shows them. Nothing here reads a blob; `inlined` adds what small blobs hold."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

import msgspec
from django.db.models import Prefetch, QuerySet

from hansa.protocol import models as wire
from hansa.server.accounts.models import User
from hansa.server.registry import local_models, selectors
from hansa.server.registry.local_models import LocalModel
from hansa.server.registry.models import MeanMember, Model, ModelKind, ModelVersion
from hansa.server.registry.statistics import stats_of


@dataclass(frozen=True, slots=True)
class Shown:
    """A record, and the digests of the blobs of which it may hold the bytes."""

    record: wire.ModelMetadata
    preprocessing: str | None
    moments: str | None


def records(user: User) -> list[wire.Model]:
    """All models the user may see, and their own local models whose bytes are kept; each kind oldest first."""
    return [*globals_of(selectors.visible(user)), *locals_of(local_models.kept_of(user))]


def globals_of(models: QuerySet[Model]) -> list[wire.Model]:
    """The records of these models, oldest first, without their arrays, of which there may be very many."""
    rows = _with_all(models).defer(
        "structure", "executed", "ties", "param_order", "training__plan", "training__shorthand"
    )
    rows = rows.order_by("created_at", "id")
    return [msgspec.structs.replace(_global(model), arrays=[]) for model in rows]


def locals_of(found: Sequence[LocalModel]) -> list[wire.Model]:
    """The records of these local models, in their order, without arrays."""
    bases = Model.objects.defer("structure", "executed", "ties", "param_order").in_bulk(
        {local.base_id for local in found}
    )
    return [
        msgspec.structs.replace(_local(local, bases[local.base_id]), arrays=[])
        for local in found
        if local.base_id in bases  # else its model was deleted between the two queries
    ]


def metadata(user: User, model_id: UUID) -> Shown:
    """One model's record in full. Raises NotFoundError."""
    model = selectors.model_or_local(user, model_id)
    if isinstance(model, LocalModel):
        base = selectors.row_of(Model.objects.all(), model.base_id)
        return Shown(_in_full(_local(model, base), None), base.preprocessing_id, None)
    row = selectors.row_of(_with_all(Model.objects.all()), model_id)
    with_moments = ModelVersion.objects.filter(model=row, moments__isnull=False).order_by("-number")
    moments = with_moments.values_list("moments_id", flat=True).first()
    return Shown(_in_full(_global(row), stats_of(row)), row.preprocessing_id, moments)


def _in_full(record: wire.Model, stats: wire.Stats | None) -> wire.ModelMetadata:
    return wire.ModelMetadata(**msgspec.structs.asdict(record), stats=stats)


def _with_all(models: QuerySet[Model]) -> QuerySet[Model]:
    versions = ModelVersion.objects.filter(number=0).select_related("blob").defer("blob__checksums")
    first = Prefetch("versions", versions, to_attr="first")
    members = Prefetch("members", MeanMember.objects.order_by("position"), to_attr="in_order")
    return selectors.with_progress(models).select_related("training").prefetch_related(first, members)


def _global(model: Model) -> wire.Model:
    training = getattr(model, "training", None)
    first: Iterable[ModelVersion] = getattr(model, "first", ())
    members: Iterable[MeanMember] = getattr(model, "in_order", ())
    return wire.Model(
        id=str(model.id),
        owner=str(model.owner_id),
        name=model.name,
        description=model.description,
        kind=model.kind,
        round=model.first_round + (getattr(model, "behind", 0) or 0),
        version=getattr(model, "newest", None),
        num_params=model.param_spec.num_params,
        size=sum(version.blob.size for version in first),
        arrays=_arrays(model),
        training=str(training.id) if training is not None else None,
        created_at=model.created_at.isoformat(),
        input_shape=model.input_shape,
        has_preprocessing=model.preprocessing_id is not None,
        models=[str(member.member_id) for member in members] if model.kind == ModelKind.MEAN else None,
    )


def _local(local: LocalModel, base: Model) -> wire.Model:
    return wire.Model(
        id=str(local.id),
        owner=str(local.owner_id),
        name=base.name,
        description=base.description,
        kind="local",
        round=base.first_round + local.round_number - 1,
        num_params=base.param_spec.num_params,
        size=local.size,
        arrays=_arrays(base),
        training=str(local.training_id),
        created_at=local.received_at.isoformat(),
        input_shape=base.input_shape,
        has_preprocessing=base.preprocessing_id is not None,
        base_model=str(base.id),
        sample_size=local.sample_size,
    )


def _arrays(model: Model) -> list[wire.ArrayInfo]:
    return [
        wire.ArrayInfo(name=array.name, dtype=array.dtype, shape=list(array.shape), kind=array.kind.value)
        for array in model.param_spec
    ]
