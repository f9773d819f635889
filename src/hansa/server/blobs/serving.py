"""Sending a blob."""

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from hansa.server.blobs import store
from hansa.server.lifecycle.files import RangedFile

IMMUTABLE = "private, immutable, max-age=31536000"
"""For an address that names these bytes for ever."""
CHANGING = "private, no-cache"
"""For an address that names the newest of something: ask again, by the ETag."""


def respond(
    request: HttpRequest, *, digest: str, size: int, media_type: str, filename: str, caching: str = IMMUTABLE
) -> HttpResponseBase:
    """Answer a GET or HEAD for a blob. The ETag is the digest of its bytes."""
    path = store.path_of(digest)
    prefix = getattr(settings, "HANSA_X_ACCEL_PREFIX", None)
    blob = RangedFile(
        source=path,
        size=size,
        etag=f'"{digest}"',
        media_type=media_type,
        filename=filename,
        headers={"Cache-Control": caching},
        accel_uri=f"{prefix}{path.relative_to(store.home())}" if prefix else None,
    )
    return blob.respond(request)
