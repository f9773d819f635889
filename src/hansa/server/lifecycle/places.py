"""So many at once, each for a moment: whoever has no place waits, and takes no memory meanwhile.

    BODIES = Places(32, seconds=1.0)

    async with BODIES.taken() as place:
        batch = ...                 # received and written; with little in hand from when `place.is_over`

A place is given on in the order of asking; after its seconds also if its holder is not done. So those who are quick
are bounded, and those who are slow (clients behind a thin line) keep nobody waiting. They have to let go of what they
hold when they find that their place is over: else memory grows with their number.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary


class Places:
    """Each event loop has so many."""

    def __init__(self, count: int, *, seconds: float) -> None:
        self._count = count
        self._seconds = seconds
        self._free: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

    @asynccontextmanager
    async def taken(self) -> AsyncIterator["Place"]:
        """Wait for a place, and hold it until the end of the context, or of its seconds."""
        place = await self.take()
        try:
            yield place
        finally:
            place.give_on()

    async def take(self) -> "Place":
        """Wait for a place, and hold it until `give_on`, or the end of its seconds."""
        loop = asyncio.get_running_loop()
        free = self._free.setdefault(loop, asyncio.Semaphore(self._count))
        await free.acquire()
        return Place(free, loop, self._seconds)


class Place:
    """One that is held, and given on once."""

    def __init__(self, free: asyncio.Semaphore, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._free = free
        self._is_held = True
        self._end = loop.call_later(seconds, self.give_on)

    @property
    def is_over(self) -> bool:
        """Whether somebody else has it now."""
        return not self._is_held

    def give_on(self) -> None:
        """To whoever waits next."""
        self._end.cancel()
        if self._is_held:
            self._is_held = False
            self._free.release()
