"""A bell for the deliverer: there is something in the outbox. Losing a ring costs a sweep, never a message."""

import asyncio


class Bell:
    """Rung on commit, from whichever thread wrote; heard on the loop it is bound to."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rung = asyncio.Event()

    def bind(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Be heard on this loop. None: by nobody (commands that run beside the server)."""
        self._loop = loop
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Something changed. From any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._rung.set)

    async def heard(self, seconds: float) -> None:
        """Return when it has been rung since the last call, or after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        except TimeoutError:
            pass
        self._rung.clear()


BELL = Bell()
"""The process's bell. One process is one server (design section 8)."""
