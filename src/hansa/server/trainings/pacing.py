"""How soon a training is looked at after something happened in it: at once, unless that was done a moment ago.

Reports come by the hundred, and a look costs the more, the larger the cohort: after each look the training rests for a
few times the processor's time that it took, and what happens meanwhile is one look. So looking takes a fifth of one
processor at the most, and a small cohort never notices.
"""

import time
from collections.abc import Callable, Iterable
from uuid import UUID

REST = 4
"""Times the processor's seconds of a look."""
MOST_SECONDS = 0.2


class Pace:
    """Trainings in which something happened, and those that rest. In seconds of a clock that is never set."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._moved: set[UUID] = set()
        self._resting: dict[UUID, float] = {}

    def moved(self, trainings: Iterable[UUID]) -> None:
        """Something happened in these."""
        self._moved.update(trainings)

    def ready(self) -> set[UUID]:
        """Those to look at now; they are taken out."""
        now = self._clock()
        self._resting = {training: until for training, until in self._resting.items() if until > now}
        ready = self._moved - self._resting.keys()
        self._moved -= ready
        return ready

    def looked(self, training: UUID, seconds: float) -> None:
        """There was nothing to do, and to see that took so many of a processor's seconds."""
        self._resting[training] = self._clock() + min(REST * seconds, MOST_SECONDS)

    def seconds(self, most: float) -> float:
        """Until the next of them may be looked at; at most so many."""
        soonest = min((self._resting.get(training, 0.0) for training in self._moved), default=float("inf"))
        return min(max(soonest - self._clock(), 0.0), most)
