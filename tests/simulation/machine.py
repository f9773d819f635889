"""What the process runs on: it dies at crash points, is slow, fails, loses hints, until it is told to be good."""

from collections.abc import Callable
from dataclasses import dataclass, replace


class SimulatedCrash(BaseException):  # as KeyboardInterrupt: no error, and nobody may catch it
    """The process dies at this point."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong in the server itself."""

    downtime: float
    """Seconds at most between a crash and the next start."""
    lost_hints: float
    """Of a hundred hints, so many hundredths are lost until a sweep."""
    trouble: float
    """Of a hundred aggregations, so many hundredths fail for reasons of the machine."""
    sweep: float
    """Seconds between two sweeps."""
    slowest_mean: float
    """Seconds that an aggregation takes at most."""
    slowest_batch: float
    """Seconds at most in which requests gather that are then answered together."""


NONE = Faults(downtime=1.0, lost_hints=0.0, trouble=0.0, sweep=10.0, slowest_mean=0.1, slowest_batch=0.01)


class Machine:
    """Dies, or damages files, at the passings of crash points that the schedule names, as long as there are faults."""

    def __init__(
        self, faults: Faults = NONE, crashes: frozenset[int] = frozenset(), damages: frozenset[int] = frozenset()
    ) -> None:
        self.faults = faults
        self.damage: Callable[[], object] = lambda: None
        """Called at the passings at which the disk damages a file."""
        self.is_good = False
        self.died = ""
        """Where. Code that tidies up may swallow a crash; a dead process does not come so far."""
        self._crashes, self._damages = crashes, damages
        self._passed = 0

    def passed(self, point: str) -> None:
        """A crash point is passed. Raises SimulatedCrash."""
        self._passed += 1
        if not self.is_good and self._passed in self._damages:
            self.damage()
        if self.died or (not self.is_good and self._passed in self._crashes):
            self.died = self.died or point
            raise SimulatedCrash(point)

    def calm_down(self) -> None:
        """From now on nothing goes wrong."""
        self.is_good = True
        self.faults = replace(self.faults, lost_hints=0.0, trouble=0.0, slowest_mean=1.0, slowest_batch=0.01)
