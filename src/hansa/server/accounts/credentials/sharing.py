"""One read for all who ask for the same thing at the same time, as long as nothing has changed since it began."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """Reads under way, by what they read. Keys carry the version that was known when the read began.

    When hundreds of requests find the same entry too old, they would otherwise stand in line for one connection, each
    to read the same row. Who asks after a change has another key: it never hears of a read that began before.
    """

    def __init__(self) -> None:
        self._under_way: dict[Hashable, asyncio.Task[T]] = {}

    async def read(self, key: Hashable, reader: Callable[[], Awaitable[T]]) -> T:
        """The reader's result. It goes on though its first asker is cancelled: others may wait for it."""
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.ensure_future(_awaited(reader))
            task.add_done_callback(partial(self._ended, key))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Cancel what is under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, key: Hashable, task: "asyncio.Task[T]") -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # heard, also if everybody who asked has gone


async def _awaited(reader: Callable[[], Awaitable[T]]) -> T:
    return await reader()
