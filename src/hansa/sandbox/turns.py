"""Whose turn it is: so many calls at once, users one after the other, and nobody waits without end."""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

Turn = asyncio.Future[None]


class FullError(Exception):
    """More calls wait than may."""


class OverdueError(FullError):
    """The turn did not come in time."""


class Turns:
    """On one event loop. `size` calls at once; who has none under way need not wait for those of others.

    Such a user's call is begun beyond `size`, up to twice as many in all: the kernel then shares the processors among
    them. Of those who wait, each user's first comes before anybody's second.
    """

    def __init__(self, size: int, *, waiting: int, patience: float) -> None:
        """`waiting`: how many may wait; `patience`: for how many seconds."""
        self._size, self._most, self._patience = size, waiting, patience
        self._running: Counter[str] = Counter()
        self._queues: OrderedDict[str, deque[Turn]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return sum(map(len, self._queues.values()))

    @asynccontextmanager
    async def taken(self, who: str) -> AsyncIterator[None]:
        """Have a turn for as long as this lasts. Raises FullError, OverdueError."""
        if who in self._queues or not self._has_room(who):
            await self._come(who)
        else:
            self._running[who] += 1
        try:
            yield
        finally:
            self._leave(who)

    async def _come(self, who: str) -> None:
        self._make_place(who)
        turn = asyncio.get_running_loop().create_future()
        self._queues.setdefault(who, deque()).append(turn)
        try:
            async with asyncio.timeout(self._patience):
                await turn
        except TimeoutError as error:
            self._give_up(who, turn)
            raise OverdueError(f"no turn came within {self._patience:g} s") from error
        except BaseException:  # to be told of a turn that came as its caller went
            self._give_up(who, turn)
            raise

    def _give_up(self, who: str, turn: Turn) -> None:
        if turn.done() and not turn.cancelled() and turn.exception() is None:
            self._leave(who)
        elif (queue := self._queues.get(who)) is not None and turn in queue:
            queue.remove(turn)
            self._forget(who)

    def _make_place(self, who: str) -> None:
        """The last to come of the user with most waiting calls makes place for one with fewer. Raises FullError."""
        if self.waiting < self._most:
            return
        greedy = max(self._queues, key=lambda each: len(self._queues[each]), default=who)
        others = len(self._queues.get(greedy, ()))
        if len(self._queues.get(who, ())) + 1 >= others:
            raise FullError(f"{self.waiting} calls wait already")
        last = self._queues[greedy].pop()
        self._forget(greedy)
        if not last.done():  # else its caller has gone
            last.set_exception(FullError(f"{self._most} calls wait already, most of them yours"))

    def _has_room(self, who: str) -> bool:
        running = self._running.total()
        return running < self._size or (self._running[who] == 0 and running < 2 * self._size)

    def _leave(self, who: str) -> None:
        self._running[who] -= 1
        self._running += Counter()  # keeps those above zero
        while (following := next((each for each in self._queues if self._has_room(each)), None)) is not None:
            turn = self._queues[following].popleft()
            self._queues.move_to_end(following)
            self._forget(following)
            if not turn.done():  # else its caller has gone
                turn.set_result(None)
                self._running[following] += 1

    def _forget(self, who: str) -> None:
        if not self._queues[who]:
            del self._queues[who]
