"""Hints within the process: which client has work, which training moved. Losing one costs a second, never a result.

Services call `tasks_offered` and `moved` on commit, from the writer thread; waiting requests and the orchestrator run
on the event loop. The rows are the truth: whoever is woken looks at them, and a sweep finds what nobody was told of.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from uuid import UUID


class Hints:
    """Wakes waiting coroutines by key, from any thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: defaultdict[UUID, set[asyncio.Event]] = defaultdict(set)
        self._moved: set[UUID] = set()
        self._some_moved = asyncio.Event()
        self.closing = False
        """The server is about to end: nobody should wait any longer."""

    def bind(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Deliver hints to this loop from now on; None: to nobody (commands run beside the server)."""
        self._loop = loop
        self._some_moved = asyncio.Event()
        self.closing = False

    def close(self) -> None:
        """Wake everybody, so that waiting requests are answered before the server ends."""
        self.closing = True
        self._wake(list(self._waiting))

    @contextmanager
    def waiter(self, key: UUID) -> Iterator[asyncio.Event]:
        """Register *before* reading the rows, so that no hint falls between the read and the wait."""
        event = asyncio.Event()
        self._waiting[key].add(event)
        try:
            yield event
        finally:
            self._waiting[key].discard(event)
            if not self._waiting[key]:
                del self._waiting[key]

    def tasks_offered(self, clients: Iterable[UUID]) -> None:
        """These clients have work."""
        self._post(self._wake, list(clients))

    def moved(self, training_id: UUID) -> None:
        """Something happened in this training: look at it, and show it."""
        self._post(self._note, training_id)

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

    def _post(self, function: object, argument: object) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, argument)  # type: ignore[arg-type]  # one of the two below

    def _wake(self, keys: list[UUID]) -> None:
        for key in keys:
            for event in self._waiting.get(key, ()):
                event.set()

    def _note(self, training_id: UUID) -> None:
        self._moved.add(training_id)
        self._some_moved.set()
        self._wake([training_id])


HINTS = Hints()
"""The process's hints. One process is one server (design section 8)."""
