"""HTML forms as messages: names and texts become the JSON object that a Struct is decoded from."""

import io
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from django.core.exceptions import SuspiciousOperation
from django.core.files.uploadhandler import MemoryFileUploadHandler
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from rest_framework.exceptions import ParseError, ValidationError

URLENCODED = "application/x-www-form-urlencoded"
FORMS = frozenset({URLENCODED, "multipart/form-data"})

FIELDS = 100
"""More is no form that a person has filled in."""


def as_json(body: bytes, content_type: str, kind: type) -> bytes:
    """The JSON of a form's fields; of a name that comes twice the last counts.

    A text that can be read as its field's type (`true` as a bool, `7` as an int) becomes that, and any other stays a
    text, for the decoder to refuse. Raises ParseError for what is no form, ValidationError for a file.
    """
    texts = _urlencoded(body) if content_type.lower().startswith(URLENCODED) else _multipart(body, content_type)
    types = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    return msgspec.json.encode({name: _read(text, types.get(name)) for name, text in texts.items()})


def _read(text: str, kind: Any) -> Any:  # Any: a type, and a value of it
    try:
        return text if kind is None else msgspec.to_builtins(msgspec.convert(text, kind, strict=False))
    except msgspec.ValidationError:
        return text


def _urlencoded(body: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=FIELDS))
    except UnicodeDecodeError as error:
        raise ParseError(f"The form is not UTF-8: {error.reason} at byte {error.start}.") from error
    except ValueError as error:
        raise ParseError(f"The form has more than {FIELDS} fields. Send those that the call takes.") from error


def _multipart(body: bytes, content_type: str) -> dict[str, str]:
    meta = {"CONTENT_TYPE": content_type, "CONTENT_LENGTH": str(len(body))}
    try:
        fields, files = MultiPartParser(meta, io.BytesIO(body), [MemoryFileUploadHandler()], "utf-8").parse()
    except (MultiPartParserError, SuspiciousOperation) as error:
        raise ParseError(f"The multipart body cannot be read: {error}") from error
    if files:
        raise ValidationError({name: ["This came as a file. Send it as a text field."] for name in files})
    return {name: str(fields[name]) for name in fields}
