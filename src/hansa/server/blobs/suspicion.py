"""Which blobs somebody has reason to doubt: told from wherever bytes are read, heard by who looks after them.

A hint, as others are: what is forgotten here is found again by the next read, the next start, or `hansa doctor`.
"""

import asyncio


class Suspicion:
    """Digests to look at, from any thread; one coroutine of the loop that is bound waits for them."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queue: asyncio.Queue[str] = asyncio.Queue()

    def bind(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """From now on heard on this loop; None: by nobody."""
        self._loop = loop
        self._queue = asyncio.Queue()

    def raised(self, digest: str) -> None:
        """Somebody has read this blob, and its bytes are not those that were stored."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._queue.put_nowait, digest)

    async def next(self) -> str:
        """The next digest to look at."""
        return await self._queue.get()


SUSPICION = Suspicion()
"""The process's own: one process is one server."""
