"""Structs in the OpenAPI document: views name them by `ref`, `listing` and `body`, the hook describes them."""

import re
from typing import Any

import msgspec
from drf_spectacular import openapi
from rest_framework.request import Request

REFUSAL = {
    "description": "Why not: a sentence for people with a code for programs, or for 400 what is wrong, by field.",
    "anyOf": [
        {
            "type": "object",
            "required": ["detail", "code"],
            "properties": {"detail": {"type": "string"}, "code": {"type": "string"}},
            "additionalProperties": False,
        },
        {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
    ],
}
DEFAULT_RESPONSE = {
    "description": "Any status of 400 or more.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}},
}
"""Every operation may refuse, and all refuse alike (`answers.py`)."""

_TEMPLATE = "#/components/schemas/{name}"
_named: dict[str, type[msgspec.Struct]] = {}


class ViewSchema(openapi.AutoSchema):
    """Operation ids from the view's name and the method: `get_training`, `post_training_start`."""

    def get_operation_id(self) -> str:
        """The id, unique as long as views have names of their own."""
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(self.view).__name__).lower()
        return f"{self.method.lower()}_{name}"


def ref(kind: type[msgspec.Struct]) -> dict[str, str]:
    """One message, as a response."""
    _named[kind.__name__] = kind
    return {"$ref": _TEMPLATE.format(name=kind.__name__)}


def listing(kind: type[msgspec.Struct]) -> dict[str, object]:
    """An array of messages, as a response."""
    return {"type": "array", "items": ref(kind)}


def body(kind: type[msgspec.Struct]) -> dict[str, dict[str, str]]:
    """One message, as a request."""
    return {"application/json": ref(kind)}


def describe_messages(
    result: dict[str, Any],  # Any: an OpenAPI document
    generator: object,
    request: Request | None,
    public: bool,  # drf-spectacular's own signature of a hook
) -> dict[str, Any]:  # Any: as above
    """drf-spectacular's hook: add the schema of every message that a view names, and how operations refuse."""
    _, components = msgspec.json.schema_components(list(_named.values()), ref_template=_TEMPLATE)
    schemas = result.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(dict(sorted(components.items())))
    schemas["Refusal"] = REFUSAL
    for operation in (each for path in result["paths"].values() for each in path.values()):
        operation["responses"].setdefault("default", DEFAULT_RESPONSE)
    return result
