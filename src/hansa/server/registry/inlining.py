"""What a model's record shows of small blobs: its preprocessing and its SWAG moments, as base64."""

import base64
import hashlib
import io
from pathlib import Path

import msgspec

from hansa.core.moments import FIRST, SECOND
from hansa.formats import modelfile, safetensors
from hansa.protocol import models as wire
from hansa.server.blobs import store
from hansa.server.blobs.store import TornBlobError
from hansa.server.blobs.suspicion import SUSPICION
from hansa.server.registry.records import Shown


def inlined(shown: Shown) -> wire.ModelMetadata:
    """The record with the bytes of blobs up to `MAX_INLINE_BYTES`. Reads files.

    What cannot be read is left out as if it were too large: who downloads it is told what is wrong with it.
    """
    first, second = _moments(shown.moments) if shown.moments else (None, None)
    if shown.moments is None and shown.record.kind == "swag":
        first = second = ""
    return msgspec.structs.replace(
        shown.record,
        preprocessing=_small(shown.preprocessing) if shown.preprocessing else None,
        swag_first_moment=first,
        swag_second_moment=second,
    )


def _small(digest: str) -> str | None:
    path = store.path_of(digest)
    try:
        small = path.stat().st_size <= wire.MAX_INLINE_BYTES
        return base64.b64encode(_whole(path, digest)).decode() if small else None
    except (FileNotFoundError, TornBlobError):
        SUSPICION.raised(digest)
        return None


def _moments(digest: str) -> tuple[str | None, str | None]:
    path = store.path_of(digest)
    try:
        if path.stat().st_size > 2 * wire.MAX_INLINE_BYTES:
            return None, None
        _whole(path, digest)
        arrays = safetensors.read(path)
    except (FileNotFoundError, TornBlobError):
        SUSPICION.raised(digest)
        return None, None
    texts = []
    for name in (FIRST, SECOND):
        file = io.BytesIO()
        modelfile.write_tensor(file, arrays[name])
        texts.append(base64.b64encode(file.getvalue()).decode())
    return texts[0], texts[1]


def _whole(path: Path, digest: str) -> bytes:
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise TornBlobError(digest, "its bytes have another SHA-256")
    return content
