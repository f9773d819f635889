"""A source of identities that goes on by single steps."""

import asyncio
import math

from hansa.server.accounts.credentials.changes import CHANGES
from hansa.server.accounts.credentials.identities import Identity, Lookup
from hansa.server.accounts.credentials.sources import Source


class Stepwise:
    """A source that awaits before and after it reads, until the test lets it go on: every race can be drawn."""

    max_age = math.inf

    def __init__(self, inner: Source) -> None:
        self._inner = inner
        self.is_free = False
        self.waiting: list[asyncio.Future[None]] = []

    def version(self) -> int:
        return CHANGES.number

    async def find(self, lookup: Lookup, key: str) -> Identity | None:
        await self._turn()
        found = await self._inner.find(lookup, key)
        await self._turn()
        return found

    async def close(self) -> None:
        await self._inner.close()

    def free(self, is_free: bool) -> None:
        """Let all go on as they like, or make them wait again."""
        self.is_free = is_free
        for turn in self.waiting:
            turn.set_result(None)
        self.waiting.clear()

    async def _turn(self) -> None:
        if self.is_free:
            return
        turn = asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        await turn
