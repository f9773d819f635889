"""Virtual time: events in their order, one random generator, and a line for each thing that happened."""

import hashlib
import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
"""Monday morning."""


class Timeline:
    """All that happens in a schedule, one thing after the other, and in the same order for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311  # repeatable, not secret
        self.seconds = 0.0
        self.skew = 0.0
        """By how many seconds the clock on the wall has been set."""
        self.trace: list[str] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    @property
    def now(self) -> datetime:
        """The time of day, as the server has it."""
        return START + timedelta(seconds=self.seconds + self.skew)

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        """Let `act` happen so many seconds from now; of two at one moment, the one that was planned first."""
        self._count += 1
        heapq.heappush(self._events, (round(self.seconds + seconds, 3), self._count, act))

    def run(self, over: Callable[[], bool], limit: float) -> bool:
        """Let time pass until it is over; False if it is not by `limit`, or nothing is left to happen."""
        while not over():
            if not self._events or self._events[0][0] > limit:
                return False
            self.seconds, _, act = heapq.heappop(self._events)
            act()
        return True

    def note(self, line: str) -> None:
        """A line of the trace."""
        self.trace.append(f"{self.seconds:10.3f}  {line}")

    def chance(self, probability: float) -> bool:
        """Whether something of this probability happens now."""
        return self.random.random() < probability

    def between(self, least: float, most: float) -> float:
        """So many seconds."""
        return self.random.uniform(least, most)

    def digest(self) -> str:
        """Of the whole trace: two runs that differ anywhere differ here."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()
