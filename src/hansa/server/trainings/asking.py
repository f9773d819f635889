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

MAX_DIGITS = 15
"""Of a whole number that is no JSON integer: up to these every float is exact."""
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
            return _older(_converted(_with_whole_number(fields), wire.TrainingCreateShort))
        asked = _converted(fields, wire.TrainingCreate)
        return Wanted(asked.model_id, plans.parse(asked.plan), asked.clients, asked.name, None)
    except plans.UnsoundPlanError as error:
        raise InvalidError(str(error), ErrorCode.UNSOUND_PLAN) from error


def _with_whole_number(fields: dict[str, Any]) -> dict[str, Any]:  # Any: any JSON
    """`target_num_updates` as a form's text field gives it: "3", or 3.0. Nothing else is taken for a number."""
    match fields.get("target_num_updates"):
        case str() as text if text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS:
            return {**fields, "target_num_updates": int(text)}
        case float() as number if number.is_integer() and abs(number) < 10**MAX_DIGITS:
            return {**fields, "target_num_updates": int(number)}
    return fields


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
