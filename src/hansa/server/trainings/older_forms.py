"""The forms of older clients: what is in them, and all that is wrong with them at once."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from django.http import QueryDict
from rest_framework.exceptions import ValidationError

from hansa.server.lifecycle.fields import Errors
from hansa.server.registry.metrics import Values, paired, pairs_in
from hansa.server.registry.upload import Form

MAX_ROUND = 2**31 - 1
MAX_EXAMPLES = 2**53
_WHOLE = re.compile(r"[0-9]{1,16}")


def _multipart(files: dict[str, str], **properties: dict[str, Any]) -> dict[str, Any]:  # Any: parts of a schema
    of_files = {name: {"type": "string", "format": "binary", "description": text} for name, text in files.items()}
    numbers = {
        "round": {"type": "integer", "minimum": 0, "maximum": MAX_ROUND, "description": "As the notification said."},
        "sample_size": {"type": "integer", "minimum": 1, "maximum": MAX_EXAMPLES},
    }
    return {
        "multipart/form-data": {
            "type": "object",
            "required": [*numbers, *of_files],
            "properties": {**numbers, **of_files, **properties},
        }
    }


_TEXTS = {"type": "array", "items": {"type": "string"}}
UPDATE = _multipart(
    {"model_file": "The trained model: TorchScript, a pickled module, a state dict, or safetensors."},
    metric_names=_TEXTS,
    metric_values={**_TEXTS, "description": "As many as names: they are paired by position."},
    owner={"type": "string", "description": "Not looked at: the sender is who signed in."},
)
MOMENTS = _multipart(
    {
        "first_moment_file": "A saved torch tensor of one dimension: the mean of every param, in their order.",
        "second_moment_file": "As the first: the mean of the squares.",
    }
)


@dataclass(frozen=True, slots=True)
class Result:
    """What a client sends for a task."""

    round: int
    """As older clients count."""
    num_examples: int
    files: tuple[Path, ...]
    metrics: Values


def update_of(form: Form) -> Result:
    """The form of an update. Raises ValidationError naming every field that is wrong."""
    errors: Errors = {}
    return _result(form, ("model_file",), _metrics(form.fields, errors), errors)


def moments_of(form: Form) -> Result:
    """The form of SWAG moments, which come without metrics. Raises ValidationError naming every field that is wrong."""
    return _result(form, ("first_moment_file", "second_moment_file"), {}, {})


def _result(form: Form, names: tuple[str, ...], metrics: Values, errors: Errors) -> Result:
    number = _whole(form.fields, "round", 0, MAX_ROUND, errors)
    num_examples = _whole(form.fields, "sample_size", 1, MAX_EXAMPLES, errors)
    files = {name: path for name in names if (path := form.path(name)) is not None}
    errors |= {name: ["No file with this name came."] for name in names if name not in files}
    if errors:
        raise ValidationError(errors)
    return Result(number, num_examples, tuple(files.values()), metrics)


def _metrics(fields: QueryDict, errors: Errors) -> Values:
    names, values = pairs_in(fields)
    if not names and not values:
        return {}
    try:
        return paired(names, values)
    except ValidationError as error:
        errors |= cast("Errors", error.detail)  # `paired` raises a map of fields
        return {}


def _whole(fields: QueryDict, name: str, least: int, most: int, errors: Errors) -> int:
    text = fields.get(name)
    if text is None:
        errors[name] = ["This field is required."]
        return least
    if not _WHOLE.fullmatch(text.strip()) or not least <= int(text) <= most:
        errors[name] = [f"{text[:40]!r} is not a whole number from {least} to {most:,}."]
        return least
    return int(text)
