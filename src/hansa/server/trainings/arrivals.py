"""An update on its way into its file: batch by batch, one written while the next comes."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

from hansa.crashpoints import crash_point
from hansa.protocol.errors import ErrorCode
from hansa.server.blobs import store
from hansa.server.blobs.digests import BLOCK, Digester
from hansa.server.lifecycle.body import DisconnectedError
from hansa.server.lifecycle.bridge import work
from hansa.server.lifecycle.errors import ConflictError
from hansa.server.lifecycle.places import Places
from hansa.writeback import Writeback


class Partial:
    """The file, open, and the digests of what is in it. For one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._writeback = Writeback(self._descriptor)
        self.digester = Digester()

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)

    def take_up(self, offset: int) -> None:
        """Hash what is here, and stand at its end. Raises ConflictError `upload_offset` where that is not `offset`.

        From 0 on is from the beginning, whatever is here.
        """
        end = os.lseek(self._descriptor, 0, os.SEEK_END)
        if offset == 0 and end:
            os.ftruncate(self._descriptor, 0)
        elif offset != end:
            raise ConflictError(
                f"The body begins at {offset:,}, but {end:,} bytes are here. Ask by HEAD, and send from there.",
                ErrorCode.UPLOAD_OFFSET,
            )
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        while piece := os.read(self._descriptor, BLOCK):
            self.digester.update(piece)
        self._writeback = Writeback(self._descriptor, start=offset)

    def write(self, data: bytes | bytearray) -> None:
        """Append bytes."""
        view = memoryview(data)
        store.write_all(self._descriptor, view)
        self._writeback.wrote(len(view))
        self.digester.update(view)
        crash_point("uploads.written")

    def sync(self) -> None:
        """Have all of it on the disk."""
        os.fsync(self._descriptor)
        crash_point("uploads.complete")


class Behind:
    """Writes batches: one, while the next comes. Left as a context, nothing is being written any more."""

    def __init__(self, partial: Partial, places: Places) -> None:
        self._partial = partial
        self._places = places
        self._writing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Behind":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.settle()

    async def settle(self) -> None:
        """Wait until all is written; cancelled, it waits all the same: a file is not closed under a writer's hands."""
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing  # its cancellation is passed on to `work`, which ends with its job

    async def batch(self, pieces: AsyncIterator[bytes], size: int) -> tuple[int, bool]:
        """Take in the next batch of the body; how many bytes it had, 0 at the end, and whether its place was over.

        It has its place until it is written. Else each client had one in memory for as long as the disk is slow.
        """
        place, batch = await self._places.take(), bytearray()
        try:
            try:
                async for piece in pieces:
                    batch += piece
                    if len(batch) >= size or place.is_over:
                        break
            except DisconnectedError:
                # What came before the line broke stays: over a slow one a batch is minutes of sending.
                await self.write(batch)
                raise
            await self.settle()
        except BaseException:
            place.give_on()
            raise
        self._writing = asyncio.create_task(work(self._partial.write, batch))
        self._writing.add_done_callback(lambda _: place.give_on())
        return len(batch), place.is_over

    async def piece(self, pieces: AsyncIterator[bytes]) -> tuple[int, bool]:
        """Write what comes next: who is slow holds no more than that, and needs no place."""
        async for piece in pieces:
            await self.write(piece)
            return len(piece), True
        return 0, True

    async def write(self, data: bytes | bytearray) -> None:
        """Append bytes behind those before."""
        await self.settle()
        await work(self._partial.write, data)
