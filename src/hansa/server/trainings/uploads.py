"""An update on its way in: resumable, bounded, hashed while it arrives, checked against the model before it counts.

The bytes go to `partial/<task>-<digest>`; a broken connection leaves them there, and the client goes on where the file
ends. Complete, the file must have the digest of its name, the arrays of the model, and finite numbers; only then it is
renamed into the store. A file that fails is deleted: nothing half-written, nothing half-right stays.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID

from django.utils import timezone

from hansa.core.params import ParamSpec
from hansa.crashpoints import crash_point
from hansa.formats.errors import ModelFileError
from hansa.protocol.errors import ErrorCode
from hansa.server.blobs import store
from hansa.server.blobs.digests import Digester, Digests
from hansa.server.blobs.services import keep
from hansa.server.lifecycle.body import DisconnectedError, UnreadRequest
from hansa.server.lifecycle.bridge import compute, work
from hansa.server.lifecycle.errors import ConflictError, InvalidError, ServiceError, is_disk_full
from hansa.server.lifecycle.places import Places
from hansa.server.lifecycle.shared import share
from hansa.server.trainings.approval import Approved, Checking
from hansa.server.trainings.arrivals import Behind, Partial
from hansa.server.trainings.assignments import UploadTarget
from hansa.server.trainings.following import Following, following
from hansa.server.trainings.services import tasks

BATCH = 2**20
"""Bytes gathered before they are hashed and written in one go, off the event loop."""

BODIES = Places(32, seconds=1.0)
"""Batches that are received and written at once. Bodies beyond that are not read: their clients' networks wait, and the
server's memory does not grow with its clients."""

RENEW_BYTES = 64 * 2**20
"""Bytes that move a lease forward."""


class TooLargeError(ServiceError):
    """Announced larger than any update of the model can be."""

    status = 413
    code = ErrorCode.TOO_LARGE


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the body of one PUT belongs."""

    target: UploadTarget
    digest: str
    offset: int
    length: int

    @property
    def path(self) -> Path:
        """The partial file."""
        return store.partial_path(self.target.task_id, self.digest)


def size_limit(spec: ParamSpec) -> int:
    """The largest file that can be an update of the model, in any form: its arrays, and a generous header."""
    return spec.nbytes + 65_536 + 1024 * len(spec)


def stored(target: UploadTarget, digest: str) -> int | None:
    """The size of the update if its client has sent it in full already; None if not."""
    blob = target.task.uploaded
    return blob.size if blob is not None and blob.sha256 == digest else None


def held(target: UploadTarget, digest: str) -> int:
    """How many bytes of the update are here already."""
    size = stored(target, digest)
    if size is not None and _size_of(store.path_of(digest)) == size:
        return size
    return _size_of(store.partial_path(target.task_id, digest))


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


_receiving: dict[UUID, "asyncio.Task[object]"] = {}
"""Who receives the update of a task. One at a time: a task has one update, and one file of it on its way."""


async def receive(request: UnreadRequest, place: Placement) -> Digests:
    """Take in the body, and store the update if it is complete.

    A second PUT for the task ends the first: the client has reconnected, whatever the network still believes. What is
    here of another update of the task is dropped: its client has changed its mind.
    Raises ConflictError `upload_offset` or `digest_mismatch`, InvalidError for a file that does not fit, 413, 507.
    """
    _check_length(request, place)
    me = asyncio.current_task()
    if me is None:
        raise RuntimeError("receive() must run in a task")
    # Again and again: a third may have come while the second waited, and two must never write to one file.
    while (earlier := _receiving.get(place.target.task_id)) is not None:
        earlier.cancel()
        await asyncio.wait([earlier])
    _receiving[place.target.task_id] = me
    try:
        if place.length <= BATCH:
            return await _receive_at_once(request, place)
        pieces = request.stream(limit=place.length - place.offset)
        return await _receive_in_batches(pieces, place)
    except OSError as error:
        if is_disk_full(error):
            await work(_discard, place.path)
        raise
    finally:
        if _receiving.get(place.target.task_id) is me:
            del _receiving[place.target.task_id]


def _drop_others(place: Placement) -> None:
    of_the_task = f"{place.target.task_id}-"
    for name in os.listdir(place.path.parent):  # noqa: PTH208  # a glob takes a hundred times as long
        if name.startswith(of_the_task) and name != place.path.name:
            (place.path.parent / name).unlink(missing_ok=True)


def _check_length(request: UnreadRequest, place: Placement) -> None:
    limit = size_limit(place.target.spec)
    if place.length > limit:
        raise TooLargeError(
            f"The update would have {place.length:,} bytes; what the task wants has {place.target.spec.nbytes:,}, so "
            f"at most {limit:,} can be right. Train the model of this task."
        )
    announced = request.announced_length
    if announced is not None and announced > place.length - place.offset:
        raise TooLargeError(
            f"The body has {announced:,} bytes; from offset {place.offset:,} of {place.length:,} there are only "
            f"{place.length - place.offset:,} to come."
        )


async def _receive_at_once(request: UnreadRequest, place: Placement) -> Digests:
    """A body that is one batch: gathered first, so that writing and checking its file are one piece of work."""
    rest = place.length - place.offset
    pieces, batch = request.stream(limit=rest), bytearray()
    async with BODIES.taken() as held:
        try:
            async for piece in pieces:
                batch += piece
                if is_slow := held.is_over and len(batch) < rest:
                    break
            else:
                is_slow = False
                digests, approved = await work(_put_and_approve, place, batch)
        except DisconnectedError:
            await work(_put, place, batch)
            raise
    if is_slow:
        return await _receive_in_batches(pieces, place, begun=batch)
    del batch  # is on the disk: not held until the commit that others share
    return await _keep(place, digests, approved)


def _put_and_approve(place: Placement, data: bytearray) -> tuple[Digests, Approved]:
    digester = _put(place, data)
    _require_whole(digester, place)
    return _approve(place, digester)


def _put(place: Placement, data: bytearray) -> Digester:
    """Write `data` behind what is here; if that is all, durably."""
    arriving = _open(place)
    try:
        arriving.take_up(place.offset)
        arriving.write(data)
        if arriving.digester.size == place.length:
            arriving.sync()
    finally:
        arriving.close()
    return arriving.digester


async def _receive_in_batches(
    pieces: AsyncIterator[bytes], place: Placement, *, begun: bytearray | None = None
) -> Digests:
    """A longer body. Its file is checked as it comes, and the last of it while the disk writes."""
    arriving = await work(_open, place)
    try:
        with following(Checking(place.path, place.length, place.target)) as followed:
            try:
                await _append(pieces, place, arriving, followed, begun=begun)
            finally:
                checking = await followed.begun()
            syncing = asyncio.create_task(work(arriving.sync))
            try:
                digests, approved = await compute(_approve, place, arriving.digester, checking)
            finally:
                await syncing
    finally:
        arriving.close()
    return await _keep(place, digests, approved)


async def _append(
    pieces: AsyncIterator[bytes],
    place: Placement,
    arriving: Partial,
    followed: Following,
    *,
    begun: bytearray | None = None,
) -> None:
    """Write the body behind what is here: batch by batch, or piece by piece for who is slow.

    `begun`: what came of it already, from who is. Raises ConflictError `upload_offset` if it does not belong there.
    """
    await compute(arriving.take_up, place.offset)  # what is here is hashed anew, be it a gigabyte
    async with Behind(arriving, BODIES) as behind:
        is_slow, since_renewal = begun is not None, 0
        if begun is not None:
            await behind.write(begun)
            begun.clear()
        while True:
            written, became_slow = await (behind.piece(pieces) if is_slow else behind.batch(pieces, BATCH))
            if not written:
                break
            is_slow = is_slow or became_slow
            if is_slow:
                followed.give_up()
            followed.arrived(arriving.digester.size)
            since_renewal += written
            if since_renewal >= RENEW_BYTES:
                since_renewal = 0
                await _renew(place)
    _require_whole(arriving.digester, place)


def _open(place: Placement) -> Partial:
    """The file that the update comes into; no other update of its task is on its way any more."""
    place.path.parent.mkdir(parents=True, exist_ok=True)
    _drop_others(place)
    return Partial(place.path)


def _require_whole(digester: Digester, place: Placement) -> None:
    if digester.size < place.length:
        raise ConflictError(
            f"{digester.size:,} of {place.length:,} bytes are here. Send the rest from that offset.",
            ErrorCode.UPLOAD_INCOMPLETE,
        )


async def _renew(place: Placement) -> None:
    await share(tasks.renew, task_id=place.target.task_id, user_id=place.target.user_id, now=timezone.now())


def _approve(place: Placement, digester: Digester, begun: Checking | None = None) -> tuple[Digests, Approved]:
    """The digests of the complete file, and what was found of it, or of what `begun` has left. One that fails is
    deleted: for its digest first, which tells bytes that were lost on their way from a file that is wrong.
    """
    digests = digester.digests()
    if digests.sha256 != place.digest:
        _discard(place.path)
        raise ConflictError(
            f"The bytes have the digest {digests.sha256}, not {place.digest}. They were dropped: send them again "
            "from offset 0.",
            ErrorCode.DIGEST_MISMATCH,
        )
    try:
        checking = begun or Checking(place.path, digests.size, place.target)
        checking.advance(digests.size)
        approved = checking.approved()
    except ModelFileError as error:
        _discard(place.path)
        raise InvalidError(str(error), error.code) from error
    crash_point("uploads.checked")
    return digests, approved


async def _keep(place: Placement, digests: Digests, approved: Approved) -> Digests:
    """Move the file into the store, and note it."""
    note = partial(
        share,
        tasks.record_upload,
        task_id=place.target.task_id,
        user_id=place.target.user_id,
        digests=digests,
        norm=approved.norm,
        media_type=approved.media_type,
        now=timezone.now(),
    )
    await keep(place.path, place.digest, note)
    return digests


def _discard(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)


def drop_abandoned(*, open_tasks: set[UUID], before: float) -> int:
    """Delete what broken uploads, untouched since `before`, have left of tasks that can no longer be reported.

    `before` in seconds since the epoch. Returns the number of files deleted.
    """
    wanted = {str(task_id) for task_id in open_tasks | _receiving.keys()}
    count = 0
    for path in (store.home() / "partial").iterdir():
        if path.name[:36] not in wanted and path.stat().st_mtime < before:
            path.unlink(missing_ok=True)
            count += 1
    return count
