"""Hints within the process: which client has work, which training moved. Losing one costs a second, never a result.

Services call `tasks_offered` and `moved` on commit, from the writer thread; waiting requests and the orchestrator run
on the event loop. The rows are the truth: whoever is woken looks at them, and a sweep finds what nobody was told of.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Final
from uuid import UUID

from hansa.server.lifecycle.threads import release
from hansa.server.lifecycle.waiting import Flag, Waiters

ANY: Final = UUID(int=0)
"""Stands for every training, for who waits until one of them moves."""
LOST_HINT_SECONDS: Final = 10.0
"""How late a stream may send what no hint told of."""


class Hints(Waiters[UUID]):
    """Wakes waiting requests by client or training, and tells the orchestrator which trainings moved."""

    def __init__(self) -> None:
        super().__init__()
        self._moved: set[UUID] = set()
        self._some_moved = asyncio.Event()

    def bind(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """As for all waiters; the orchestrator waits on this loop too."""
        super().bind(loop)
        self._some_moved = asyncio.Event()

    def tasks_offered(self, clients: Iterable[UUID]) -> None:
        """These clients have work."""
        self.wake(clients)

    def moved(self, training_id: UUID) -> None:
        """Something happened in this training: look at it, and show it."""
        self.post(self._note, training_id)

    async def next_moved(self, seconds: float) -> set[UUID]:
        """The trainings noted since the last call; waits up to `seconds` for the first."""
        try:
            async with asyncio.timeout(seconds):
                await self._some_moved.wait()
        except TimeoutError:
            pass
        self._some_moved.clear()
        moved, self._moved = self._moved, set()
        return moved

    def _note(self, training_id: UUID) -> None:
        self._moved.add(training_id)
        self._some_moved.set()
        self._wake([training_id, ANY])


HINTS = Hints()
"""The process's hints. One process is one server (design section 8)."""


async def something(woken: Flag, *, settle: float) -> None:
    """Wait until something may have happened, and so many seconds for what happens beside it; without a thread or a
    connection. `woken`: of a waiter of `HINTS`.
    """
    await release()
    with suppress(TimeoutError):
        async with asyncio.timeout(LOST_HINT_SECONDS):
            await woken.wait()
    if not HINTS.closing:
        await asyncio.sleep(settle)
    woken.clear()
