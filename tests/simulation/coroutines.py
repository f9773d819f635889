"""The server's own coroutines in virtual time: wherever one waits, other things happen before it goes on.

No event loop runs. A coroutine is driven by hand: what it awaits in the end is a `Turn`, which says for how long. So
every order in which the real server may come to its awaits can be drawn, and a process that dies drops them all.
"""

from asyncio import Semaphore
from collections.abc import Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from hansa.server.lifecycle.batches import Batches
from simulation.rows import Refused

MOST_TURNS = 100_000
Course = Coroutine[float, None, Any]  # Any: what it returns


class Turn:
    """Awaited: others have their turn, for so many seconds."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds

    def __await__(self) -> Generator[float, None, None]:
        yield self._seconds


def finish(course: Course) -> Any:  # Any: as above
    """To its end at once, with nobody else's turn in between."""
    try:
        for _ in range(MOST_TURNS):
            course.send(None)
    except StopIteration as ended:
        return ended.value
    raise AssertionError(f"{course} waits for something that nobody else is there to do")


class Activity:
    """A coroutine that the process follows; what stands for it where asyncio has a task."""

    def __init__(self, what: str, course: Course, life: int) -> None:
        self.what, self.course, self.life = what, course, life
        self.over = False
        self.given: Any = None  # what it returned, or why it was refused
        self._heard: list[Callable[[Activity], None]] = []
        self._was_cancelled = False

    def step(self) -> float:
        """Until it waits again, and for how long."""
        try:
            return self.course.send(None)
        except StopIteration as ended:
            self.given, self.over = ended.value, True
        except Refused as refused:
            self.given, self.over = refused, True
        return 0.0

    def end(self) -> None:
        """It is through; whoever wants to know is told."""
        for hear in self._heard:
            hear(self)

    def cancel(self) -> None:
        """It goes no further. Those that are cancelled here have nothing to tidy up."""
        self.over = self._was_cancelled = True

    def cancelled(self) -> bool:
        return self._was_cancelled

    def exception(self) -> None:
        """None: one that is raised ends the schedule."""

    def add_done_callback(self, hear: "Callable[[Activity], None]") -> None:
        self._heard.append(hear)


def left_undone(what: str, course: Course) -> Activity:
    """Where no process follows what is begun: it never was."""
    course.close()
    return Activity(what, course, 0)


class Lock:
    """In the place of asyncio's, which wants an event loop where somebody has to wait."""

    def __init__(self) -> None:
        self._is_held = False

    async def __aenter__(self) -> None:
        while self._is_held:
            await Turn(0.01)
        self._is_held = True

    async def __aexit__(self, *error: object) -> None:
        self._is_held = False


class Locks:
    """In the place of `store.lock`; lost with the process."""

    def __init__(self) -> None:
        self._locks: dict[str, Lock] = {}

    def of(self, digest: str) -> Lock:
        return self._locks.setdefault(digest, Lock())

    def forget(self) -> None:
        self._locks.clear()


class Asyncio:
    """What the server's modules use of asyncio, in virtual time."""

    Semaphore = Semaphore

    def __init__(self, begin: Callable[[Course], Activity]) -> None:
        self.create_task = begin

    async def sleep(self, seconds: float) -> None:
        await Turn(seconds)

    async def shield(self, course: Course) -> Any:  # Any: as above
        """Nobody is cancelled here in whom it matters."""
        return await course

    def get_running_loop(self) -> "Asyncio":
        return self

    def call_later(self, seconds: float, act: Callable[[], None]) -> Activity:
        async def later() -> None:
            await Turn(seconds)
            act()

        return self.create_task(later())


class Gathered:
    """In the place of `Batches.ask`: who asks within a moment is answered together. Lost with the process."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._waiting: dict[Batches[Any, Any], list[_Ask]] = {}  # Any: of whatever is asked

    def forget(self) -> None:
        self._waiting.clear()

    async def ask(self, batches: Batches[Any, Any], asked: Any) -> Any:  # Any: as above
        mine = _Ask(asked)
        self._waiting.setdefault(batches, []).append(mine)
        await Turn(self._seconds())
        if not mine.is_begun:
            await self._answer(batches, self._waiting.pop(batches))
        while not mine.is_answered:
            await Turn(0.01)
        if mine.error is not None:
            raise mine.error
        return mine.answer

    async def _answer(self, batches: Batches[Any, Any], asks: "Sequence[_Ask]") -> None:
        for ask in asks:
            ask.is_begun = True
        try:
            answers = await batches._together([ask.asked for ask in asks])
        except Exception as error:  # noqa: BLE001  # as there: it is the asker's to hear, once it is known whose
            for ask in asks if len(asks) > 1 else ():
                await self._answer(batches, [ask])
            if len(asks) == 1:
                asks[0].error, asks[0].is_answered = error, True
            return
        for ask, answer in zip(asks, answers, strict=True):
            ask.answer, ask.is_answered = answer, True


@dataclass(eq=False)
class _Ask:
    asked: Any
    is_begun: bool = False
    is_answered: bool = False
    answer: Any = None
    error: Exception | None = None
