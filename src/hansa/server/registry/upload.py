"""A multipart body with files, spooled to disk by Django's own parser after the caller's right was checked."""

import hashlib
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO

from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.http import QueryDict
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from django.utils.datastructures import MultiValueDict
from rest_framework.exceptions import UnsupportedMediaType, ValidationError

from hansa.crashpoints import crash_point
from hansa.server.blobs import store
from hansa.server.lifecycle.body import UnreadRequest
from hansa.server.lifecycle.bridge import work

MULTIPART = "multipart/form-data"


@dataclass(frozen=True, slots=True)
class Form:
    """The parts of a multipart body, whatever their order. Its files lie in `tmp/` of the data folder."""

    fields: QueryDict
    files: "MultiValueDict[str, UploadedFile[bytes]]"

    def path(self, name: str) -> Path | None:
        """Where the file of this field lies, whatever its sender called it; None without one.

        It is deleted with the form, unless it was moved away.
        """
        file = self.files.get(name)
        return Path(file.temporary_file_path()) if isinstance(file, TemporaryUploadedFile) else None

    def fingerprint(self) -> str:
        """The same for the same parts, whatever their boundaries and the names of their files. Reads all files."""
        whole = hashlib.sha256(repr(sorted(self.fields.lists())).encode())
        for name, parts in sorted(self.files.lists()):
            for part in parts:
                part.seek(0)
                whole.update(f"{name} {hashlib.file_digest(part, 'sha256').hexdigest()} ".encode())
        return whole.hexdigest()

    def close(self) -> None:
        """Delete the files now, not when the garbage collector comes to them."""
        for part in chain.from_iterable(parts for _, parts in self.files.lists()):
            part.close()


@asynccontextmanager
async def form_of(request: UnreadRequest, *, limit: int) -> AsyncIterator[Form]:
    """Receive a body of at most `limit` bytes; its files are there within. Raises field errors, 413, 415, 507."""
    if request.content_type != MULTIPART:
        raise UnsupportedMediaType(
            request.content_type or "", f"The body is {request.content_type!r}; send {MULTIPART}."
        )
    folder = store.home() / "tmp"
    await work(folder.mkdir, parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as spool:
        async for chunk in request.stream(limit=limit):
            await work(store.write_all, spool.fileno(), chunk)
        form = await work(_parse, request, spool)
    crash_point("forms.received")
    try:
        yield form
    finally:
        form.close()


def _parse(request: UnreadRequest, spool: IO[bytes]) -> Form:
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
    return Form(fields, files)


def _too_much_text() -> str:
    count, size = settings.DATA_UPLOAD_MAX_NUMBER_FIELDS, settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    return (
        f"The text fields are too many or too long: at most {count:,} fields and {size:,} bytes are allowed. Shorten "
        "the description; name many buffers in the file's metadata ('hansa.buffers'), not in the form."
    )
