"""Structs in the OpenAPI document: views name them by `ref`, `listing` and `body`, the hook describes them.

The statuses with which an operation may refuse are told one by one: those that follow from what a view is (who may
call it, what its path and its body are) are added here, those that its services decide it names by `refusals`. What
only a broken server answers (5xx) is not part of the contract.
"""

import re
from http import HTTPStatus
from typing import Any

import msgspec
from drf_spectacular import openapi
from rest_framework.permissions import SAFE_METHODS, IsAuthenticated
from rest_framework.request import Request

REFUSAL = {
    "description": "Why not: a sentence for people with a code for programs, or for 400 what is wrong, by field.",
    "anyOf": [
        {
            "type": "object",
            "required": ["detail", "code"],
            "properties": {
                "detail": {"type": "string"},
                "code": {"type": "string"},
                "limit": {"type": "string", "description": "With some codes: which limit was exceeded."},
            },
            "additionalProperties": False,
        },
        {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
    ],
}
_TEMPLATE = "#/components/schemas/{name}"
_named: dict[str, type[msgspec.Struct]] = {}


class ViewSchema(openapi.AutoSchema):
    """Operation ids from the view's name and the method: `get_training`, `post_training_start`."""

    def get_operation_id(self) -> str:
        """The id, unique as long as views have names of their own."""
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(self.view).__name__).lower()
        return f"{self.method.lower()}_{name}"

    def get_operation(self, *args: Any) -> dict[str, Any] | None:  # Any: drf-spectacular's own signature
        """The operation, with the statuses that follow from its view."""
        operation: dict[str, Any] | None = super().get_operation(*args)  # Any: a part of an OpenAPI document
        if operation is not None:
            responses = operation["responses"]
            for status in self._refused_with(operation):
                responses.setdefault(str(status.value), _described(status))
            operation["responses"] = dict(sorted(responses.items()))
        return operation

    def _refused_with(self, operation: dict[str, Any]) -> set[HTTPStatus]:  # Any: as above
        """What may become of a request before its handler has been asked anything of its own."""
        statuses = {HTTPStatus.NOT_ACCEPTABLE}
        places = {parameter["in"] for parameter in operation.get("parameters", ())}
        if places & {"query", "header"}:
            statuses.add(HTTPStatus.BAD_REQUEST)
        if "path" in places:
            statuses.add(HTTPStatus.NOT_FOUND)
        if "requestBody" in operation:
            statuses |= {
                HTTPStatus.BAD_REQUEST,
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            }
        if self.view.authentication_classes:
            statuses |= {HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS}
        # A session needs its CSRF token for changes.
        by_session = self.view.authentication_classes and self.method not in SAFE_METHODS
        if by_session or any(type(each) is not IsAuthenticated for each in self.view.get_permissions()):
            statuses.add(HTTPStatus.FORBIDDEN)
        return statuses


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


def refusals(*statuses: int) -> dict[int, dict[str, str]]:
    """Statuses with which an operation's services may refuse, for the `responses` of `extend_schema`.

    >>> sorted(refusals(404, 409))
    [404, 409]
    """
    return {status: {"$ref": _TEMPLATE.format(name="Refusal")} for status in statuses}


def _described(status: HTTPStatus) -> dict[str, object]:
    return {
        "description": status.phrase,
        "content": {"application/json": {"schema": {"$ref": _TEMPLATE.format(name="Refusal")}}},
    }


def describe_messages(
    result: dict[str, Any],  # Any: an OpenAPI document
    generator: object,
    request: Request | None,
    public: bool,  # drf-spectacular's own signature of a hook
) -> dict[str, Any]:  # Any: as above
    """drf-spectacular's hook: add the schema of every message that a view names, and of refusals."""
    _, components = msgspec.json.schema_components(list(_named.values()), ref_template=_TEMPLATE)
    schemas = result.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(dict(sorted(components.items())))
    schemas["Refusal"] = REFUSAL
    return result
