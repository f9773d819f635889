"""What the message for a new training asks for, in whichever of its two forms it comes.

A message with a `plan` is Hansa's own; one with a field of the older platform, and no plan, is in that one's words.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from rest_framework.exceptions import ValidationError

from hansa.protocol import trainings as wire
from hansa.protocol.errors import ErrorCode
from hansa.rounds import plan as plans
from hansa.rounds.shorthands import Shorthand, ShorthandError, expand
from hansa.server.lifecycle.errors import InvalidError
from hansa.server.lifecycle.fields import all_errors_of

T = TypeVar("T")

OLDER_FIELDS = frozenset(wire.TrainingCreateShort.__struct_fields__) - frozenset(wire.TrainingCreate.__struct_fields__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A new training, whatever words it was asked for in."""

    model_id: str
    plan: plans.Plan
    clients: list[str]
    name: str
    shorthand: Shorthand | None
    """The older platform's words, if it was asked for in those."""


def wanted(fields: dict[str, Any]) -> Wanted:  # Any: any JSON
    """Read the message. Raises DRF's ValidationError with all fields that are wrong, InvalidError `unsound_plan`."""
    try:
        if "plan" not in fields and fields.keys() & OLDER_FIELDS:
            return _older(_converted(fields, wire.TrainingCreateShort))
        asked = _converted(fields, wire.TrainingCreate)
        return Wanted(asked.model_id, plans.parse(asked.plan), asked.clients, asked.name, None)
    except plans.UnsoundPlanError as error:
        raise InvalidError(str(error), ErrorCode.UNSOUND_PLAN) from error


def _older(asked: wire.TrainingCreateShort) -> Wanted:
    words = Shorthand(
        aggregation_method=asked.aggregation_method,
        uncertainty_method=asked.uncertainty_method,
        options=asked.options,
        metric_names=asked.metric_names,
    )
    try:
        plan = expand(words, updates=asked.target_num_updates)
    except ShorthandError as error:
        raise ValidationError({error.field: [str(error)]}) from error
    return Wanted(asked.model_id, plan, asked.clients, "", words)


def _converted(fields: dict[str, Any], kind: type[T]) -> T:  # Any: any JSON
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise ValidationError(all_errors_of(error, kind, msgspec.json.encode(fields))) from error
