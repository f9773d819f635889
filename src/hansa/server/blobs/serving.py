"""Sending a blob: whole or by range, each block compared with its checksum before it leaves.

What is found damaged at once is answered with 503 `blob_damaged`; in the middle of an answer the connection is broken,
so that no wrong byte looks like a right one, and whoever asks again is told. Behind HANSA_X_ACCEL_PREFIX nginx sends
the file itself: then its first block is compared, and its receiver compares the rest with the digest.
"""

import asyncio
from collections.abc import Callable
from functools import partial

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from hansa.protocol.errors import ErrorCode
from hansa.server.accounts.credentials.sharing import Shared
from hansa.server.blobs import store
from hansa.server.blobs.digests import BLOCK
from hansa.server.blobs.inspection import Known
from hansa.server.blobs.models import Blob
from hansa.server.blobs.store import CheckedBlob, TornBlobError
from hansa.server.blobs.suspicion import SUSPICION
from hansa.server.lifecycle import files
from hansa.server.lifecycle.bridge import read, work
from hansa.server.lifecycle.errors import NotFoundError, ServiceError
from hansa.server.lifecycle.files import RangedFile

IMMUTABLE = "private, immutable, max-age=31536000"
"""For an address that names these bytes for ever."""
CHANGING = "private, no-cache"
"""For an address that names the newest of something: ask again, by the ETag."""


class BlobDamagedError(ServiceError):
    """The bytes that were asked for are lost, at least for now."""

    status = 503
    code = ErrorCode.BLOB_DAMAGED

    def __init__(self, digest: str) -> None:
        super().__init__(
            f"The server's file {digest} is damaged, and is not sent. What can be computed or asked for again is; "
            "anything else has to come from a backup (on the server: hansa doctor). Try again later."
        )


class CheckedFile:
    """A blob as a file to read from. Raises TornBlobError rather than give a byte that was not stored."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._position = 0
        try:
            self._blob = CheckedBlob(known.digest, known.checksums, known.size)
        except TornBlobError:
            SUSPICION.raised(known.digest)
            raise

    def seek(self, offset: int, /) -> int:
        """Go to a byte."""
        self._position = offset
        return offset

    def read(self, size: int, /) -> bytes:
        """What the block there still has, so that the next reads are of whole blocks; none at the end."""
        if size <= 0 or self._position >= self._known.size:
            return b""
        number, skip = divmod(self._position, BLOCK)
        try:
            block = self._blob.block(number)
        except TornBlobError:
            SUSPICION.raised(self._known.digest)
            raise
        piece = block[skip : skip + size] if skip or size < len(block) else block
        self._position += len(piece)
        return piece

    def close(self) -> None:
        """Let go of it."""
        self._blob.close()


async def respond(
    request: HttpRequest,
    *,
    digest: str,
    media_type: str,
    filename: str,
    caching: str = IMMUTABLE,
    on_sent: Callable[[], object] | None = None,
) -> HttpResponseBase:
    """Answer a GET or HEAD for a blob. The ETag is the digest of its bytes. Raises BlobDamagedError, NotFoundError.

    `on_sent`: as `RangedFile` has it.
    """
    known = await known_blob(digest)
    return await respond_with(
        request, known, media_type=media_type, filename=filename, caching=caching, on_sent=on_sent
    )


async def respond_with(
    request: HttpRequest,
    known: Known,
    *,
    media_type: str,
    filename: str,
    caching: str = IMMUTABLE,
    on_sent: Callable[[], object] | None = None,
) -> HttpResponseBase:
    """As `respond`, for a blob whose row was just read."""
    beginning = await _BEGINNINGS.read((asyncio.get_running_loop(), known), partial(work, _beginning, known))
    path = store.path_of(known.digest)
    prefix = getattr(settings, "HANSA_X_ACCEL_PREFIX", None)
    blob = RangedFile(
        source=beginning if len(beginning) == known.size <= files.CHUNK else partial(CheckedFile, known),
        size=known.size,
        etag=f'"{known.digest}"',
        media_type=media_type,
        filename=filename,
        headers={"Cache-Control": caching},
        on_sent=on_sent,
        accel_uri=f"{prefix}{path.relative_to(store.home())}" if prefix else None,
    )
    return blob.respond(request)


async def known_blob(digest: str) -> Known:
    """What the row of a blob says. Raises NotFoundError where there is none any more."""
    row = await read(Blob.objects.filter(sha256=digest).first)
    if row is None:
        raise NotFoundError("These bytes have just been let go.")
    return Known.of(row)


_BEGINNINGS: Shared[bytes] = Shared()
"""Whole cohorts fetch the same version at the same moment: it is read, and held in memory, once for those."""


def _beginning(known: Known) -> bytes:
    """The first block, looked at before anything is answered: of most models that is all."""
    try:
        file = CheckedFile(known)
        try:
            return file.read(BLOCK)
        finally:
            file.close()
    except TornBlobError as error:
        raise BlobDamagedError(known.digest) from error
