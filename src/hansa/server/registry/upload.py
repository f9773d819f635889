"""The multipart body of a new model, spooled to disk by Django's own parser after the caller's right was checked."""

import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import IO

from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.http import QueryDict
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from django.utils.datastructures import MultiValueDict
from rest_framework.exceptions import UnsupportedMediaType, ValidationError

from hansa.server.blobs import store
from hansa.server.lifecycle.body import UnreadRequest
from hansa.server.lifecycle.bridge import work


@dataclass(frozen=True, slots=True)
class ModelForm:
    """The fields of a new model, and its file."""

    name: str
    description: str
    buffers: frozenset[str] | None
    file: TemporaryUploadedFile


async def read_form(request: UnreadRequest, *, limit: int) -> ModelForm:
    """Receive the body into a temporary file and parse it. Raises field errors, 413, 415."""
    if request.content_type != "multipart/form-data":
        raise UnsupportedMediaType(
            request.content_type or "", f"The body is {request.content_type!r}; send multipart/form-data."
        )
    folder = store.home() / "tmp"
    await work(folder.mkdir, parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as spool:
        async for chunk in request.stream(limit=limit):
            await work(store.write_all, spool.fileno(), chunk)
        return await work(_parse, request, spool)


def _parse(request: UnreadRequest, spool: IO[bytes]) -> ModelForm:
    length = spool.seek(0, os.SEEK_END)
    spool.seek(0)
    meta = {**request.META, "CONTENT_LENGTH": str(length)}
    handler = TemporaryFileUploadHandler(request)
    try:
        fields, files = MultiPartParser(meta, spool, [handler], "utf-8").parse()  # type: ignore[arg-type]  # the stub asks for more than read()
    except MultiPartParserError as error:
        raise ValidationError({"non_field_errors": [f"The multipart body cannot be read: {error}"]}) from error
    except SuspiciousOperation as error:
        raise ValidationError({"non_field_errors": [_too_much_text()]}) from error
    except OSError:
        # Of a full disk Django knows nothing. Closing what is unfinished deletes it, and may meet the same error.
        with suppress(OSError):
            handler.upload_interrupted()
        raise
    form = None
    try:
        form = _form(fields, files)
    finally:
        # What is not handed on is deleted here, not when the garbage collector comes to it.
        for part in chain.from_iterable(parts for _, parts in files.lists()):
            if form is None or part is not form.file:
                part.close()
    return form


def _too_much_text() -> str:
    count, size = settings.DATA_UPLOAD_MAX_NUMBER_FIELDS, settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    return (
        f"The text fields are too many or too long: at most {count:,} fields and {size:,} bytes are allowed. Shorten "
        "the description; name many buffers in the file's metadata ('hansa.buffers'), not in the form."
    )


def _form(fields: QueryDict, files: "MultiValueDict[str, UploadedFile[bytes]]") -> ModelForm:
    file = files.get("model_file")
    if not isinstance(file, TemporaryUploadedFile):
        raise ValidationError({"model_file": ["No file with this name came. Send the model as safetensors."]})
    name = fields.get("name", "").strip()
    if not 0 < len(name) <= 256:
        raise ValidationError({"name": [f"The name has {len(name)} characters; it must have 1 to 256."]})
    buffers = frozenset(fields.getlist("buffers")) if "buffers" in fields else None
    return ModelForm(name, fields.get("description", ""), buffers, file)
