"""What is said of a new model, in a form or as JSON: checked once, and a value from here on."""

import re
from dataclasses import dataclass
from math import prod
from uuid import UUID

import msgspec
from django.http import QueryDict
from rest_framework.exceptions import ValidationError

from hansa.protocol import models as wire
from hansa.server.lifecycle.fields import Errors, all_errors_of
from hansa.server.registry.models import ModelKind

_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,19}\s*", re.ASCII)
_FREE = ("none", "null")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewModel:
    """A model to be, without its file."""

    name: str
    description: str = ""
    kind: ModelKind = ModelKind.GLOBAL
    first_round: int = 0
    input_shape: tuple[int | None, ...] | None = None
    members: tuple[UUID, ...] = ()
    """Of a mean, in its owner's order; without repetition."""


def said_in_form(fields: QueryDict) -> NewModel:
    """The fields of a form. Raises ValidationError naming all that are wrong."""
    data: dict[str, object] = {name: fields[name] for name in ("name", "description", "type") if name in fields}
    if "round" in fields:
        data["round"] = _number(str(fields["round"]))
    if "input_shape" in fields:
        shape = [None if text.strip().lower() in _FREE else _number(text) for text in _texts(fields, "input_shape")]
        data["input_shape"] = None if shape == [None] else shape
    if "models" in fields:
        data["models"] = _texts(fields, "models")
    encoded = msgspec.json.encode(data)
    try:
        return said(msgspec.json.decode(encoded, type=wire.ModelCreate))
    except msgspec.ValidationError as error:
        raise ValidationError(all_errors_of(error, wire.ModelCreate, encoded)) from error


def _texts(fields: QueryDict, name: str) -> list[str]:
    return [str(text) for text in fields.getlist(name)]


def _number(text: str) -> int | str:
    return int(text) if _INTEGER.fullmatch(text) else text


def said(message: wire.ModelCreate) -> NewModel:
    """The message as a value. Raises ValidationError naming all fields that are wrong."""
    errors: Errors = {}
    name = message.name.strip()
    if not 0 < len(name) <= 256:
        errors["name"] = [f"The name has {len(name)} characters; it must have 1 to 256."]
    kind = message.type.strip().lower()
    if kind not in ModelKind.values:
        errors["type"] = [f"{message.type[:80]!r} is no type of model; there are GLOBAL, SWAG and MEAN."]
    if message.input_shape is not None and (fault := _shape_fault(message.input_shape)):
        errors["input_shape"] = [fault]
    members, faults = _members(message.models or []) if kind == ModelKind.MEAN else ((), [])
    if faults:
        errors["models"] = faults
    if errors:
        raise ValidationError(errors)
    return NewModel(
        name=name,
        description=message.description,
        kind=ModelKind(kind),
        first_round=message.round,
        input_shape=None if message.input_shape is None else tuple(message.input_shape),
        members=members,
    )


def _shape_fault(shape: list[int | None]) -> str:
    if not 1 <= len(shape) <= wire.MAX_DIMENSIONS:
        return f"There are {len(shape)} dimensions; an input has 1 to {wire.MAX_DIMENSIONS}."
    if prod(size or 1 for size in shape) > wire.MAX_INPUT_ELEMENTS:
        return (
            f"An input of this shape has more than {wire.MAX_INPUT_ELEMENTS:,} elements. Give the shape of one input."
        )
    return ""


def _members(texts: list[str]) -> tuple[tuple[UUID, ...], list[str]]:
    """The members of a mean, and what is wrong with them."""
    if not texts:
        return (), ["A mean is made of other models: give the id of each."]
    members: dict[UUID, None] = {}
    faults = []
    for text in texts:
        try:
            member = UUID(text)
        except ValueError:
            faults.append(f"{text[:80]!r} is no id of a model.")
            continue
        if member in members:
            faults.append(f"{text} comes twice; each member counts once.")
        members[member] = None
    return tuple(members), faults[:10]
