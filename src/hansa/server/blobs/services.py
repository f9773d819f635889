"""Rows of blobs: written after their files, deleted before them."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from django.db.models import (
    BigIntegerField,
    BinaryField,
    CharField,
    DateTimeField,
    Exists,
    OuterRef,
    ProtectedError,
    QuerySet,
)

from hansa.crashpoints import crash_point
from hansa.server.blobs import store
from hansa.server.blobs.digests import Digests
from hansa.server.blobs.holding import collecting
from hansa.server.blobs.models import Blob
from hansa.server.changes import change
from hansa.server.lifecycle.bridge import call, read, work
from hansa.server.prepared import Added, Rows, Slot

T = TypeVar("T")

SAFETENSORS = "application/vnd.safetensors"
UPDATE = "application/vnd.hansa.update"
"""Safetensors that stand for a model only together with another file: an encoded update."""
OCTETS = "application/octet-stream"
"""What nobody here looks into: files that torch has saved."""


_SEEN = Added(
    lambda: Blob(
        sha256=Slot("sha256", CharField()),
        size=Slot("size", BigIntegerField()),
        media_type=Slot("media_type", CharField()),
        checksums=Slot("checksums", BinaryField()),
        seen_at=Slot("now", DateTimeField()),
    ),
    unique=("sha256",),
    replaced=("seen_at",),
)
_KNOWN = Rows(lambda: Blob.objects.filter(sha256=Slot("sha256", CharField())))


def record(*, digests: Digests, media_type: str, now: datetime) -> Blob:
    """Note that the blob is in the store, or was seen again. To be called inside the transaction that refers to it."""
    see(digests=digests, media_type=media_type, now=now)
    return _KNOWN(sha256=digests.sha256)[0]


def see(*, digests: Digests, media_type: str, now: datetime) -> None:
    """As `record`, for who needs nothing of the row but its key."""
    _SEEN(sha256=digests.sha256, size=digests.size, media_type=media_type, checksums=digests.checksums, now=now)


def known(sha256: str) -> Blob | None:
    """The row of a blob."""
    return _KNOWN.first(sha256=sha256)


def correct(*, digests: Digests) -> None:
    """The file is right, by its SHA-256, and the row is not: what it says of the file was damaged."""
    with change("blobs.correct"):
        Blob.objects.filter(sha256=digests.sha256).update(size=digests.size, checksums=digests.checksums)


async def keep(file: Path, digest: str, refer: Callable[[], Awaitable[T]]) -> T:
    """Place a complete file in the store, and write the rows that refer to it by `refer`.

    If that is refused, or fails, a file that no row knows is removed again: what is not acknowledged costs no room.
    """
    return await keep_all({digest: file}, refer)


async def keep_all(files: Mapping[str, Path], refer: Callable[[], Awaitable[T]]) -> T:
    """As `keep`, for the files of several digests that are referred to together."""
    async with AsyncExitStack() as locks:
        for digest in sorted(files):  # in one order, so that two who hold some of each other's never wait for ever
            await locks.enter_async_context(store.lock(digest))
        try:
            for digest, file in files.items():
                await work(store.place, file, digest)
                crash_point("blobs.placed")
            return await refer()
        except BaseException:
            crash_point("blobs.refused")
            for digest in files:
                if not await read(Blob.objects.filter(sha256=digest).exists):
                    await work(store.remove, digest)
            raise


def unreferenced(*, before: datetime) -> QuerySet[Blob]:
    """Blobs that no row of any table refers to, last seen before `before`."""
    blobs = Blob.objects.filter(seen_at__lt=before)
    for relation in Blob._meta.related_objects:
        # Hidden relations (related_name "+") would not be listed; the foreign key itself still protects such a blob.
        referring = relation.related_model._base_manager.filter(**{relation.field.name: OuterRef("pk")})
        blobs = blobs.exclude(Exists(referring))
    return blobs


def forget(*, digest: str, before: datetime) -> bool:
    """Delete the row if it is still unreferenced and still old; True if it was. The file is the caller's business."""
    try:
        with change("blobs.forget"):
            deleted, _ = unreferenced(before=before).filter(sha256=digest).delete()
    except ProtectedError:
        return False
    return deleted > 0


async def collect(*, before: datetime) -> int:
    """Delete what nothing refers to and nobody has seen since `before`; the number of blobs deleted.

    None while a backup copies the store.
    """
    with collecting(store.home()) as may_delete:
        return await _collect(before) if may_delete else 0


async def _collect(before: datetime) -> int:
    collected = 0
    for digest in await call(lambda: list(unreferenced(before=before).values_list("sha256", flat=True)[:1000])):
        async with store.lock(digest):
            if await call(forget, digest=digest, before=before):
                await work(store.remove, digest)
                collected += 1
    return collected


async def collect_strays(*, before: datetime) -> int:
    """Delete files without a row, left by a crash between file and row, and temporary files long given up.

    None while a backup copies the store: it may have rows that are gone here.
    """
    with collecting(store.home()) as may_delete:
        return await _collect_strays(before) if may_delete else 0


async def _collect_strays(before: datetime) -> int:
    collected = 0
    for path in await work(_old_files, before.timestamp()):
        if path.parent.name == "tmp":
            await work(path.unlink, missing_ok=True)
            collected += 1
            continue
        async with store.lock(path.name):
            if not await call(lambda name: Blob.objects.filter(sha256=name).exists(), path.name):
                await work(path.unlink, missing_ok=True)
                collected += 1
    return collected


def _old_files(before: float) -> list[Path]:
    paths = [*store.files(), *(store.home() / "tmp").glob("*")]
    return [path for path in paths if path.is_file() and _changed_at(path) < before]


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
