"""What was measured of a model: reads, and metrics as older clients post them."""

import base64
import math
from collections.abc import Sequence
from uuid import UUID

from django.db.models import Exists, OuterRef, Q
from django.http import QueryDict
from rest_framework.exceptions import ValidationError

from hansa.protocol import models as wire
from hansa.server.accounts.models import User
from hansa.server.lifecycle.fields import Errors
from hansa.server.registry.local_models import LocalModel
from hansa.server.registry.models import Metric, MetricKind
from hansa.server.registry.selectors import is_actor, model_or_local

Values = dict[str, float | bytes]
"""Name → a finite number, or the UTF-8 of what is none."""


def metrics(user: User, model_id: UUID, kind: MetricKind | None = None) -> list[wire.Metric]:
    """A model's metrics, oldest first: all for its owner and its training's actor, their own for participants.

    Of one `kind`, or of both with one value for each key, step and reporter: the evaluation's, if there are two. Older
    readers know no kinds, and would draw both as one curve.

    Of a local model: those that came with it. To whom it was dealt in a daisy chain they are not told.
    """
    model = model_or_local(user, model_id)
    base_id = model.base_id if isinstance(model, LocalModel) else model.id
    sees_all = user.is_superuser or model.owner_id == user.id or is_actor(user, base_id)
    if isinstance(model, LocalModel):
        return _of_local(model) if sees_all else []
    rows = Metric.objects.filter(model_id=model_id, **({} if sees_all else {"reporter": user}))
    rows = rows.filter(kind=kind) if kind is not None else rows.filter(~Q(kind=MetricKind.TRAIN) | ~Exists(_EVALUATED))
    return [_record(row, model.id, model.first_round + row.step) for row in rows.order_by("id")]


_EVALUATED = Metric.objects.filter(
    kind=MetricKind.EVALUATE,
    **{name: OuterRef(name) for name in ("model_id", "key", "step", "reporter_id")},
)


def _of_local(local: LocalModel) -> list[wire.Metric]:
    rows = Metric.objects.filter(
        model_id=local.base_id, kind=MetricKind.TRAIN, reporter_id=local.owner_id, step=local.round_number
    ).select_related("model")
    return [_record(row, local.id, row.model.first_round + row.step - 1) for row in rows.order_by("id")]


def _record(row: Metric, model_id: UUID, step: int) -> wire.Metric:
    return wire.Metric(
        id=row.id,
        model=str(model_id),
        step=step,
        key=row.key,
        value=row.value,
        value_float=row.value,
        value_binary=None if row.text is None else base64.b64encode(row.text).decode(),
        reporter=str(row.reporter_id),
        kind=row.kind,
    )


def pairs_in(fields: QueryDict) -> tuple[list[str], list[str]]:
    """The names and values of a form. `metric_names[]`, with which the older client writes repetition, is the same."""
    names, values = (
        [*fields.getlist(name), *fields.getlist(f"{name}[]")] for name in ("metric_names", "metric_values")
    )
    return names, values


def paired(names: Sequence[str], values: Sequence[str | float]) -> Values:
    """Names and values that came side by side. Of a name that comes twice the last value counts.

    Raises ValidationError naming what is wrong: no names, another number of values, too many, too long.
    """
    errors: Errors = {}
    if not names:
        errors["metric_names"] = ["No names came. Send metric_names and metric_values, as many of one as of the other."]
    elif len(names) != len(values):
        errors["metric_values"] = [f"{len(names)} names and {len(values)} values came; they are paired by position."]
    elif len(names) > wire.MAX_POSTED_METRICS:
        errors["metric_names"] = [f"{len(names)} metrics came; at most {wire.MAX_POSTED_METRICS} are taken at once."]
    elif faults := [fault for fault in map(_key_fault, names) if fault]:
        errors["metric_names"] = faults
    elif faults := [fault for fault in map(_value_fault, names, values) if fault]:
        errors["metric_values"] = faults
    if errors:
        raise ValidationError(errors)
    return {name: _stored(value) for name, value in zip(names, values, strict=True)}


def _key_fault(name: str) -> str:
    if 1 <= len(name) <= wire.MAX_POSTED_KEY and name.isprintable():
        return ""
    return f"{name[:80]!r} cannot name a metric: that takes 1 to {wire.MAX_POSTED_KEY} printable characters."


def _value_fault(name: str, value: str | float) -> str:
    if not isinstance(value, str) or len(_utf8(value)) <= wire.MAX_POSTED_TEXT:
        return ""
    return f"The value of {name!r} is longer than {wire.MAX_POSTED_TEXT:,} bytes. Send a number or a short text."


def _stored(value: str | float) -> float | bytes:
    try:
        number = float(value)
    except ValueError:
        return _utf8(str(value))
    return number if math.isfinite(number) else _utf8(str(value))


def _utf8(text: str) -> bytes:
    return text.encode(errors="replace")
