"""What supervisors ask again and again, of things that may hang: within a limit, and once for all who ask."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")

ANSWER_SECONDS = 2.0
"""How long the database, or the disk, may take: probes ask for so long."""
REMEMBERED_SECONDS = 1.0
"""How long an answer may be good for. Whoever asks without end then costs no more than one question a second."""


class Question(Generic[T]):
    """Asks one thing, never twice at once: who asks meanwhile waits for the same answer, or for as long as it may."""

    def __init__(self, ask: Callable[[], Awaitable[T]], *, unanswered: T, remembers: bool = False) -> None:
        self._ask = ask
        self._unanswered = unanswered
        self._remembers = remembers
        self._asking: asyncio.Task[T] | None = None
        self._answered_at = 0.0

    async def answer(self) -> T:
        """The answer, or `unanswered` if there is none in time. What hangs goes on hanging, once."""
        asking = self._asking
        if asking is None or asking.get_loop() is not asyncio.get_running_loop() or self._is_over(asking):
            asking = self._asking = asyncio.create_task(self._ask_once())
        done, _ = await asyncio.wait([asking], timeout=ANSWER_SECONDS)
        return asking.result() if done else self._unanswered

    async def _ask_once(self) -> T:
        answer = await self._ask()
        self._answered_at = asyncio.get_running_loop().time()
        return answer

    def _is_over(self, asking: "asyncio.Task[T]") -> bool:
        good_for = REMEMBERED_SECONDS if self._remembers else 0.0
        return asking.done() and asking.get_loop().time() >= self._answered_at + good_for
