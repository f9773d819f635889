"""Changes to models. One transaction each."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from django.db import transaction

from hansa.core.params import ParamSpec
from hansa.server.accounts.models import User
from hansa.server.blobs import services as blobs
from hansa.server.blobs.digests import Digests
from hansa.server.lifecycle.errors import ConflictError, NotFoundError
from hansa.server.registry.models import Metric, MetricKind, Model, ModelVersion, spec_as_json


def create_model(
    *, owner: User, name: str, description: str, spec: ParamSpec, digests: Digests, now: datetime
) -> Model:
    """A model and its version 0, whose blob is in the store already."""
    with transaction.atomic():
        blob = blobs.record(digests=digests, media_type=blobs.SAFETENSORS, now=now)
        model = Model.objects.create(
            owner=owner, name=name, description=description, spec=spec_as_json(spec), created_at=now
        )
        ModelVersion.objects.create(model=model, number=0, blob=blob, created_at=now)
    return model


def copy_model(*, model: Model, now: datetime) -> Model:
    """A model of its own that begins where another one is. To be called inside a transaction."""
    newest = ModelVersion.objects.filter(model=model).order_by("-number").first()
    if newest is None:
        raise NotFoundError(f"There is no model {model.id} any more.")
    copied = Model.objects.create(
        owner_id=model.owner_id,
        name=model.name,
        description=model.description,
        kind=model.kind,
        input_shape=model.input_shape,
        preprocessing_id=model.preprocessing_id,
        archive_id=model.archive_id,
        spec=model.spec,
        created_at=now,
    )
    ModelVersion.objects.create(model=copied, number=0, blob_id=newest.blob_id, parent=newest, created_at=now)
    return copied


def delete_model(*, model_id: UUID) -> None:
    """Delete a model with its versions, metrics and its training. Raises ConflictError while that is running."""
    with transaction.atomic():
        running = Model.objects.filter(id=model_id, training__status__in=("ongoing", "paused")).exists()
        if running:
            raise ConflictError("The model is being trained. Cancel its training first.")
        deleted, _ = Model.objects.filter(id=model_id).delete()
    if not deleted:
        raise NotFoundError(f"There is no model {model_id}.")


def record_metrics(
    *, model_id: UUID, reporter_id: UUID, kind: MetricKind, step: int, num_examples: int, values: Mapping[str, float]
) -> None:
    """Metrics of one report. To be called inside its transaction; a repeated round replaces the earlier attempt's."""
    Metric.objects.bulk_create(
        [
            Metric(
                model_id=model_id,
                reporter_id=reporter_id,
                kind=kind,
                key=key,
                value=value,
                step=step,
                num_examples=num_examples,
            )
            for key, value in values.items()
        ],
        update_conflicts=True,
        unique_fields=["model", "kind", "step", "reporter", "key"],
        update_fields=["value", "num_examples"],
    )
