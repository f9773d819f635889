"""A network that loses, doubles, delays and so reorders what is sent, until it is told to be good."""

from collections.abc import Callable
from dataclasses import dataclass

from simulation.timeline import Timeline


@dataclass(frozen=True, slots=True)
class Weather:
    """How bad the network is."""

    loss: float
    """Of a hundred messages, so many hundredths never come."""
    duplication: float
    """So many come a second time, whenever that is."""
    slow: float
    """So many take `slowest` seconds at most, where others take milliseconds: what was sent later comes first."""
    slowest: float = 150.0


CALM = Weather(0.0, 0.0, 0.0)


class Network:
    """Carries messages both ways."""

    def __init__(self, timeline: Timeline, weather: Weather) -> None:
        self.weather = weather
        self._timeline = timeline

    def carry(self, deliver: Callable[[], None]) -> None:
        """Let `deliver` happen never, once, or twice."""
        if self._timeline.chance(self.weather.loss):
            return
        self._timeline.after(self._delay(), deliver)
        if self._timeline.chance(self.weather.duplication):
            self._timeline.after(self._delay(), deliver)

    def _delay(self) -> float:
        slow = self._timeline.chance(self.weather.slow)
        return self._timeline.between(0.001, self.weather.slowest if slow else 0.2)
