"""What a model's record shows of small blobs: its preprocessing and its SWAG moments, as base64."""

import base64
import io

import msgspec

from hansa.core.moments import FIRST, SECOND
from hansa.formats import modelfile, safetensors
from hansa.protocol import models as wire
from hansa.server.blobs import store
from hansa.server.registry.records import Shown


def inlined(shown: Shown) -> wire.ModelMetadata:
    """The record with the bytes of blobs up to `MAX_INLINE_BYTES`. Reads files."""
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
    return base64.b64encode(path.read_bytes()).decode() if path.stat().st_size <= wire.MAX_INLINE_BYTES else None


def _moments(digest: str) -> tuple[str | None, str | None]:
    path = store.path_of(digest)
    if path.stat().st_size > 2 * wire.MAX_INLINE_BYTES:
        return None, None
    arrays = safetensors.read(path)
    texts = []
    for name in (FIRST, SECOND):
        file = io.BytesIO()
        modelfile.write_tensor(file, arrays[name])
        texts.append(base64.b64encode(file.getvalue()).decode())
    return texts[0], texts[1]
