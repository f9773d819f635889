"""Changes to models. One transaction each."""

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

import msgspec
from django.db.models import (
    BigIntegerField,
    BinaryField,
    CharField,
    FloatField,
    IntegerField,
    ProtectedError,
    UUIDField,
)

from hansa.protocol.models import MAX_POSTED_METRICS
from hansa.server.accounts.models import User
from hansa.server.blobs import services as blobs
from hansa.server.blobs.digests import Digests
from hansa.server.blobs.models import Blob
from hansa.server.changes import change
from hansa.server.lifecycle.errors import ConflictError, NotFoundError, ServiceError
from hansa.server.prepared import Added, Slot
from hansa.server.registry import selectors
from hansa.server.registry.creation import NewModel
from hansa.server.registry.ingest import Ingested
from hansa.server.registry.models import MeanMember, Metric, MetricKind, Model, ModelKind, ModelVersion, spec_as_json
from hansa.server.registry.statistics import Executed, structure_as_json


def create_model(
    *, owner: User, said: NewModel, ingested: Ingested, preprocessing: Digests | None = None, now: datetime
) -> Model:
    """A model and its version 0. Its blobs are in the store already."""
    with change("registry.create_model"):
        blob = blobs.record(digests=ingested.digests, media_type=blobs.SAFETENSORS, now=now)
        archive = _file(ingested.archive, now)
        model = Model.objects.create(
            owner=owner,
            name=said.name,
            description=said.description,
            kind=said.kind,
            input_shape=said.input_shape,
            first_round=said.first_round,
            preprocessing=_file(preprocessing, now),
            archive=archive,
            archive_params=blob.sha256 if archive else "",
            spec=spec_as_json(ingested.spec),
            ties=ingested.ties,
            param_order=ingested.param_order,
            structure=structure_as_json(ingested.structure),
            created_at=now,
        )
        ModelVersion.objects.create(model=model, number=0, blob=blob, created_at=now)
    return model


def create_mean(*, owner: User, said: NewModel, preprocessing: Digests | None = None, now: datetime) -> Model:
    """A mean of models that are the owner's own. Raises NotFoundError, ForbiddenError, ConflictError."""
    with change("registry.create_mean"):
        # Locked, so that none is deleted before the mean refers to it.
        list(Model.objects.select_for_update(no_key=True).filter(id__in=said.members).values_list("id"))
        members = selectors.owned_models(owner, said.members)
        if means := [member for member in members if member.kind == ModelKind.MEAN]:
            raise ConflictError(
                f"{means[0].name!r} ({means[0].id}) is a mean itself. Give its members instead: a mean is made of "
                "models that have params of their own."
            )
        mean = Model.objects.create(
            owner=owner,
            name=said.name,
            description=said.description,
            kind=ModelKind.MEAN,
            input_shape=said.input_shape,
            first_round=said.first_round,
            preprocessing=_file(preprocessing, now),
            spec=[],
            created_at=now,
        )
        MeanMember.objects.bulk_create(
            MeanMember(mean=mean, member=member, position=position) for position, member in enumerate(members)
        )
    return mean


def _file(digests: Digests | None, now: datetime) -> Blob | None:
    return None if digests is None else blobs.record(digests=digests, media_type=blobs.OCTETS, now=now)


def copy_model(*, model: Model, now: datetime, name: str = "") -> Model:
    """A model of its own that begins where another one is; without a `name` of its own, under the other's. To be called
    inside a transaction.
    """
    newest = ModelVersion.objects.filter(model=model, lost="").order_by("-number").first()
    if newest is None and model.kind != ModelKind.MEAN:
        raise NotFoundError(f"There is no model {model.id} any more.")
    copied = Model.objects.create(
        owner_id=model.owner_id,
        name=name or model.name,
        description=model.description,
        kind=model.kind,
        input_shape=model.input_shape,
        first_round=model.first_round + selectors.rounds_behind(model.id),
        preprocessing_id=model.preprocessing_id,
        archive_id=model.archive_id,
        archive_params=model.archive_params,
        spec=model.spec,
        ties=model.ties,
        param_order=model.param_order,
        structure=model.structure,
        executed=model.executed,
        created_at=now,
    )
    if newest is not None:
        ModelVersion.objects.create(model=copied, number=0, blob_id=newest.blob_id, parent=newest, created_at=now)
    MeanMember.objects.bulk_create(
        MeanMember(mean=copied, member_id=each.member_id, position=each.position) for each in model.members.all()
    )
    return copied


def record_run(*, model_id: UUID, executed: Executed) -> None:
    """Keep what a run told of a model's layers. It follows from the model, so whoever is first is right."""
    with change("registry.record_run"):
        Model.objects.filter(id=model_id, executed__isnull=True).update(executed=msgspec.to_builtins(executed))


def set_preprocessing(*, model_id: UUID, digests: Digests, now: datetime) -> None:
    """Give a model a preprocessing pipeline, in place of the one it may have."""
    with change("registry.set_preprocessing"):
        blob = blobs.record(digests=digests, media_type=blobs.OCTETS, now=now)
        if not Model.objects.filter(id=model_id).update(preprocessing=blob):
            raise NotFoundError(f"There is no model {model_id} any more.")


def delete_model(*, model_id: UUID) -> None:
    """Delete a model with its versions, metrics and its training.

    Raises ConflictError while that is running, and while the model is a member of a mean.
    """
    with change("registry.delete_model"):
        running = Model.objects.filter(id=model_id, training__status__in=("ongoing", "paused")).exists()
        if running:
            raise ConflictError("The model is being trained. Cancel its training first.")
        means = Model.objects.filter(members__member_id=model_id)
        if mean := means.first():
            raise ConflictError(f"The model is a member of the mean {mean.name!r} ({mean.id}). Delete that first.")
        try:
            deleted, _ = Model.objects.filter(id=model_id).delete()
        except ProtectedError as error:
            raise ConflictError("The model has just become a member of a mean. Delete that first.") from error
    if not deleted:
        raise NotFoundError(f"There is no model {model_id}.")


_MEASURED = Added(
    lambda: Metric(  # type: ignore[misc]  # slots stand for ids
        model_id=Slot("model", UUIDField()),
        reporter_id=Slot("reporter", UUIDField()),
        kind=Slot("kind", CharField()),
        key=Slot("key", CharField()),
        value=Slot("value", FloatField()),
        text=Slot("text", BinaryField()),
        step=Slot("step", IntegerField()),
        num_examples=Slot("num_examples", BigIntegerField()),
    ),
    unique=("model", "kind", "step", "reporter", "key"),
    replaced=("value", "text", "num_examples"),
)


def record_metrics(
    *,
    model_id: UUID,
    reporter_id: UUID,
    kind: MetricKind,
    step: int,
    num_examples: int,
    values: Mapping[str, float | bytes],
) -> None:
    """Metrics of one report. To be called inside its transaction; a repeated round replaces the earlier attempt's.

    What is no finite number is the UTF-8 of a text.
    """
    for key, value in values.items():
        is_text = isinstance(value, bytes)
        _MEASURED(
            model=model_id,
            reporter=reporter_id,
            kind=kind,
            key=key,
            value=None if is_text else value,
            text=value if is_text else None,
            step=step,
            num_examples=num_examples,
        )


def check_room(*, model_id: UUID, reporter_id: UUID, step: int, names: Collection[str]) -> None:
    """Raises ServiceError if one reporter's metrics of one round would have too many names with these.

    To be called inside the transaction that records them, in a turn at the model or its training.
    """
    others = Metric.objects.filter(model_id=model_id, reporter_id=reporter_id, kind=MetricKind.EVALUATE, step=step)
    total = len(names) + others.exclude(key__in=names).count()
    if total > MAX_POSTED_METRICS:
        raise ServiceError(
            f"With these there would be {total} metrics of this round from you; at most {MAX_POSTED_METRICS} are kept "
            "of one. Post those that matter, under the names you have used."
        )


def record_posted_metrics(
    *, model_id: UUID, reporter_id: UUID, values: Mapping[str, float | bytes], num_examples: int = 1
) -> None:
    """Metrics that were posted for a model as it is now; posted again they replace what was said of the same round.

    May be called inside a transaction. Raises NotFoundError if the model is gone, ServiceError for more names in all
    than are kept of one round.
    """
    with change("registry.record_posted_metrics"):
        if not list(Model.objects.select_for_update(no_key=True).filter(id=model_id).values_list("id")):
            raise NotFoundError(f"There is no model {model_id} any more.")
        step = selectors.rounds_behind(model_id)
        check_room(model_id=model_id, reporter_id=reporter_id, step=step, names=values)
        record_metrics(
            model_id=model_id,
            reporter_id=reporter_id,
            kind=MetricKind.EVALUATE,
            step=step,
            num_examples=num_examples,
            values=values,
        )
