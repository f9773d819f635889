"""What is wrong with a message, field by field, in DRF's shape.

msgspec stops at the first thing that is wrong. Who filled in a form wants to know all of them: after a refusal the
fields are looked at one by one. Only then: a message that is right is decoded once.
"""

import re
from enum import Enum
from typing import Any, Literal, get_args, get_origin

import msgspec
from rest_framework.exceptions import ParseError

Errors = dict[str, list[str]]

_PATH = re.compile(r"^(?P<what>.*?)(?: - at (?P<key>`key` in )?`\$\.?(?P<path>.*)`)?$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(?P<name>[^`]*)`$")
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<name>[^`]*)`$")


def errors_of(refusal: msgspec.ValidationError) -> Errors:
    """DRF's field map from msgspec's sentence.

    >>> errors_of(msgspec.ValidationError("Expected `int`, got `str` - at `$.num_examples`"))
    {'num_examples': ['Expected `int`, got `str`.']}
    """
    match = _PATH.match(str(refusal))
    what, path = (match["what"], match["path"] or "") if match else (str(refusal), "")
    if match and match["key"]:
        what = f"A key is not as wanted: {what}"
    if missing := _MISSING.match(what):
        path, what = ".".join(filter(None, (path, missing["name"]))), "This field is required"
    elif unknown := _UNKNOWN.match(what):
        path, what = ".".join(filter(None, (path, unknown["name"]))), "There is no such field"
    return {path or "non_field_errors": [f"{what}."]}


def malformed(refusal: msgspec.DecodeError) -> ParseError:
    """DRF's error for a body that is no JSON."""
    return ParseError(f"The body is not valid JSON: {refusal}. Send one JSON object.", code="invalid")


def all_errors_of(refusal: msgspec.ValidationError, kind: Any, body: bytes) -> Errors:  # Any: a type
    """As `errors_of`, for every field of the Struct that was wanted. `body` is the JSON that was refused."""
    try:
        data = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return errors_of(refusal)  # it was refused before it was read to its end
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct) and isinstance(data, dict)):
        return errors_of(refusal)
    found: Errors = {}
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name, field in fields.items():
        if name not in data:
            if field.required:
                found[name] = ["This field is required."]
            continue
        if msgspec.Raw in (field.type, *get_args(field.type)):
            continue  # any JSON is one
        try:
            msgspec.convert(data[name], field.type)
        except msgspec.ValidationError as error:
            found |= {_below(name, path): _chosen(said, field.type) for path, said in errors_of(error).items()}
    if kind.__struct_config__.forbid_unknown_fields:
        tag = kind.__struct_config__.tag_field
        found |= {name: ["There is no such field."] for name in data if name not in fields and name != tag}
    return found or errors_of(refusal)


def _chosen(said: list[str], kind: Any) -> list[str]:  # Any: a type
    """Name the choices, which msgspec does not, where a field wants one of a few values."""
    literal = get_args(kind) if get_origin(kind) is Literal else ()
    choices = [each.value for each in kind] if isinstance(kind, type) and issubclass(kind, Enum) else literal
    if not choices or not said[0].startswith("Invalid enum value"):
        return said
    return [f"{said[0]} Must be one of: {', '.join(map(str, choices))}."]


def _below(name: str, path: str) -> str:
    if path == "non_field_errors":
        return name
    return f"{name}{path}" if path.startswith("[") else f"{name}.{path}"
