"""Requests as questions: JSON or a form, with its inputs decoded."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from math import isfinite
from uuid import UUID

import msgspec
from django.core.files.uploadedfile import UploadedFile
from rest_framework.exceptions import ValidationError

from hansa.protocol.inference import MAX_PARTS, InferenceQuestion
from hansa.server.inference import decoding
from hansa.server.inference.decoding import Image, Input
from hansa.server.inference.errors import FIELD, InputError
from hansa.server.lifecycle.fields import all_errors_of
from hansa.server.registry.upload import Form

_NUMBERS = ("version", "seed")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. The parts of its input are as they came: whether the model may be asked is looked at first."""

    said: InferenceQuestion
    model_id: UUID
    parts: Sequence[bytes]
    """Of a batch, in their order; most often one."""
    in_json: bool

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(map(len, self.parts))


def of_message(said: InferenceQuestion) -> Question:
    """A question in JSON. Raises ValidationError."""
    return Question(said, _model_id(said), [bytes(said.model_input)], in_json=True)


def size_of(form: Form) -> int:
    """Bytes of all parts of a form that are inputs."""
    files = sum(file.size or 0 for file in form.files.getlist(FIELD))
    return files + sum(len(str(text)) for text in form.fields.getlist(FIELD))


def of_form(form: Form) -> Question:
    """A question in a form. Reads its files. Raises ValidationError."""
    files = form.files.getlist(FIELD)
    texts = [str(text).encode() for text in form.fields.getlist(FIELD)]
    if not files and not texts:
        raise ValidationError({FIELD: ["This field is required: a file, or text; several are a batch."]})
    if len(files) + len(texts) > MAX_PARTS:
        raise ValidationError(
            {FIELD: [f"There are {len(files) + len(texts):,} parts; at most {MAX_PARTS:,} are read."]}
        )
    said = _said_in(form)
    return Question(said, _model_id(said), [*chain(map(_content, files), texts)], in_json=False)


def inputs_of(question: Question) -> list[Input]:
    """The parts as arrays, and images. Raises ValidationError."""
    read = decoding.of_json if question.in_json else decoding.of_bytes
    inputs: list[Input] = []
    for number, part in enumerate(question.parts):
        try:
            found = read(part)
            inputs.append(found if isinstance(found, Image) else decoding.converted(found, question.said.dtype))
        except InputError as error:
            where = f"Part {number}: " if len(question.parts) > 1 else ""
            raise ValidationError({FIELD: [f"{where}{error}"]}) from error
    return inputs


def _content(file: "UploadedFile[bytes]") -> bytes:
    file.seek(0)
    content: bytes = file.read()
    return content


def _said_in(form: Form) -> InferenceQuestion:
    fields: dict[str, object] = {name: form.fields[name] for name in form.fields if name != FIELD}
    fields.setdefault("return_format", "binary")
    for name in _NUMBERS:
        text = str(fields.get(name, ""))
        if text.isdecimal() and len(text) <= 18:
            fields[name] = int(text)
    if "level" in fields:
        fields["level"] = _number(str(fields["level"]))
    if "uncertainty" in fields:
        fields["uncertainty"] = _object(str(fields["uncertainty"]))
    body = msgspec.json.encode({**fields, FIELD: ""})
    try:
        return msgspec.json.decode(body, type=InferenceQuestion)
    except msgspec.ValidationError as error:
        raise ValidationError(all_errors_of(error, InferenceQuestion, body)) from error


def _number(text: str) -> object:
    """The number that a text is; the text itself if it is none, and is refused as such."""
    try:
        return float(text) if isfinite(float(text)) else text
    except ValueError:
        return text


def _object(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValidationError(
            {"uncertainty": [f'This is no JSON: {error}. Write an object, such as {{"samples": 10}}.']}
        ) from error


def _model_id(said: InferenceQuestion) -> UUID:
    try:
        return UUID(said.model_id)
    except ValueError as error:
        raise ValidationError({"model_id": [f"{said.model_id[:80]!r} is no id of a model."]}) from error
