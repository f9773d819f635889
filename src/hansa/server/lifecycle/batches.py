"""Asked one by one, answered together: what many requests want of a thread at once costs one hop, and one transaction.

    LEASES = Batches(partial(call, lease_all))
    task = await LEASES.ask(wish)

An ask goes to work at once where nothing is under way; what comes meanwhile is the next batch. So nobody waits for
company, and the busier the server, the larger its batches.

Where an answer makes its asker come again at once with something else, `rest` lets that in between: after a full batch
the next is begun only after so many times the seconds that it took, so that a thousand who ask together are answered in
a steady row instead of all at once, and whoever asks for something else meanwhile waits for one batch, not for twenty.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

A = TypeVar("A")
R = TypeVar("R")

MOST = 50
"""Asks in one batch: whoever is in it waits for all of it, and a writer for as long."""

LONGEST_REST = 0.2
"""Seconds. A batch that took long, because the machine was busy, makes nobody wait for long."""


@dataclass(slots=True)
class _Ask(Generic[A, R]):
    asked: A
    answer: "asyncio.Future[R]"
    is_begun: bool = False
    is_answered: bool = False


@dataclass(slots=True)
class _Queue(Generic[A, R]):
    """What waits on one event loop."""

    waiting: list[_Ask[A, R]] = field(default_factory=list)
    worker: "asyncio.Task[None] | None" = None


class Batches(Generic[A, R]):
    """`together` answers a list of asks with a list of answers, one for each, in their order."""

    def __init__(
        self,
        together: Callable[[Sequence[A]], Awaitable[Sequence[R]]],
        most: int = MOST,
        rest: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._together = together
        self._most = most
        self._rest, self._clock = rest, clock
        self._queues: WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue[A, R]] = WeakKeyDictionary()

    async def ask(self, asked: A) -> R:
        """The answer to one. Who is cancelled before its batch is begun is left out of it; after that, it waits.

        Raises what `together` raises for this ask alone: a batch that fails is asked again one by one.
        """
        loop = asyncio.get_running_loop()
        queue = self._queues.setdefault(loop, _Queue())
        ask: _Ask[A, R] = _Ask(asked, loop.create_future())
        queue.waiting.append(ask)
        if queue.worker is None:
            # In a context of its own: it goes on for others when this request is answered.
            queue.worker = loop.create_task(self._work(queue), context=Context())
        try:
            return await ask.answer
        except asyncio.CancelledError:
            if ask.is_begun and not ask.is_answered:
                # It cannot be stopped, and a caller that went on would judge by what is not committed yet, and remove
                # files under its hands: it waits, however often it is cancelled.
                ask.answer = loop.create_future()
                while not ask.answer.done():
                    with suppress(asyncio.CancelledError):
                        await asyncio.wait([ask.answer])
            if not ask.answer.cancelled():
                ask.answer.exception()  # heard, though nobody wants it; asyncio would log it as forgotten
            raise

    async def _work(self, queue: _Queue[A, R]) -> None:
        try:
            while queue.waiting:
                batch, queue.waiting = queue.waiting[: self._most], queue.waiting[self._most :]
                began = self._clock()
                await self._answer([ask for ask in batch if not ask.answer.done()])
                if self._rest and queue.waiting:
                    await asyncio.sleep(min(self._rest * (self._clock() - began), LONGEST_REST))
        finally:
            queue.worker = None

    async def _answer(self, batch: Sequence[_Ask[A, R]]) -> None:
        for ask in batch:
            ask.is_begun = True
        try:
            answers = await self._together([ask.asked for ask in batch]) if batch else ()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the asker's to hear, once it is known whose
            if len(batch) > 1:
                for ask in batch:
                    await self._answer([ask])
            else:
                batch[0].is_answered = True
                if not batch[0].answer.done():
                    batch[0].answer.set_exception(error)
        else:
            for ask, answer in zip(batch, answers, strict=True):
                ask.is_answered = True
                if not ask.answer.done():
                    ask.answer.set_result(answer)
