"""Curves as SVG, drawn here: they are there without a script, on paper and for a screen reader. Pure.

Coordinates are those of a box of `WIDTH` by `HEIGHT`; style is the style sheet's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 640
HEIGHT: Final = 220
LEFT: Final = 52
"""Room for the numbers beside the axis."""
BELOW: Final = 24
SMALLEST_STEP: Final = 1e-300
"""Between two numbers beside an axis; what is closer than that has no decimal steps in between."""
MOST_POINTS: Final = 320
"""Of a curve: more cannot be told apart at this width."""


@dataclass(frozen=True, slots=True)
class Point:
    """What a round's clients measured."""

    round: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A number beside an axis, and where."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Curve:
    """A metric over the rounds, ready to be drawn: the mean as a line, the spread over the clients as a band."""

    name: str
    line: str
    """`x,y x,y …`, as a polyline has it."""
    band: str
    """As a polygon has it: along the maxima, and back along the minima."""
    across: Sequence[Tick]
    up: Sequence[Tick]
    last: Point
    last_at: tuple[float, float]
    points: Sequence[Point]

    @property
    def summary(self) -> str:
        """For who does not see it."""
        first = self.points[0]
        return (
            f"{self.name}: {number(first.mean)} in round {first.round}, {number(self.last.mean)} in round "
            f"{self.last.round}; over the clients from {number(self.last.low)} to {number(self.last.high)}"
        )


def curve(name: str, points: Sequence[Point]) -> Curve:
    """Draw points, at least one, by ascending round."""
    shown = thinned(points)
    low, high = min(point.low for point in shown), max(point.high for point in shown)
    steps = ticks(low, high)
    bottom, top = min(low, steps[0]), max(high, steps[-1])
    height = top / 2 - bottom / 2  # halves do not overflow
    first, last = shown[0].round, shown[-1].round

    def x(round_number: int) -> float:
        share = (round_number - first) / (last - first) if last > first else 0.5
        return round(LEFT + share * (WIDTH - LEFT - 8), 1)

    def y(value: float) -> float:
        share = (value / 2 - bottom / 2) / height if height > 0 else 0.5
        return round(8 + (1 - share) * (HEIGHT - BELOW - 8), 1)

    def path(values: Sequence[tuple[int, float]]) -> str:
        return " ".join(f"{x(number)},{y(value)}" for number, value in values)

    highs = [(point.round, point.high) for point in shown]
    lows = [(point.round, point.low) for point in reversed(shown)]
    whole = sorted({round(each) for each in ticks(first, last) if first <= each <= last and float(each).is_integer()})
    return Curve(
        name=name,
        line=path([(point.round, point.mean) for point in shown]),
        band=path([*highs, *lows]),
        across=[Tick(x(each), str(each)) for each in whole],
        up=[Tick(y(each), number(each)) for each in steps],
        last=shown[-1],
        last_at=(x(last), y(shown[-1].mean)),
        points=points,
    )


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> Sequence[Point]:
    """At most so many, each for its share of the rounds: the mean of the means, the widest of the spreads.

    The last round is always one by itself: it is what people look for.
    """
    if len(points) <= most:
        return points
    *past, last = points
    per = math.ceil(len(past) / (most - 1))
    return [*(_merged(past[start : start + per]) for start in range(0, len(past), per)), last]


def _merged(points: Sequence[Point]) -> Point:
    return Point(
        round=points[len(points) // 2].round,
        mean=math.fsum(point.mean / len(points) for point in points),
        low=min(point.low for point in points),
        high=max(point.high for point in points),
    )


def ticks(low: float, high: float, about: int = 5) -> Sequence[float]:
    """Round numbers from the last at or below `low` to the first at or above `high`.

    >>> ticks(0.13, 0.98)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    >>> ticks(3.0, 3.0)
    [2.0, 3.0, 4.0]
    """
    if not high > low:
        step = 10.0 ** math.floor(math.log10(abs(low))) if abs(low) > SMALLEST_STEP else 1.0
        return [low - step, low, low + step]
    raw = high / about - low / about
    if raw < SMALLEST_STEP:
        return [low, high]
    scale = 10.0 ** math.floor(math.log10(raw))
    step = next(nice * scale for nice in (1, 2, 2.5, 5, 10) if nice * scale >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if not math.isfinite(first * step) or not math.isfinite(last * step):
        return [low, high]
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def number(value: float) -> str:
    """As short as it says what it is.

    >>> number(0.123456), number(1234567.0), number(-0.0), number(98.25)
    ('0.1235', '1.235e+06', '0', '98.25')
    """
    return f"{value:.4g}" if value else "0"


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a lane: `kind` is `waits`, `works` or `sends`."""

    at: float
    width: float
    kind: str
    seconds: float


LANE: Final = 200.0
"""Width of a lane; its height is the style sheet's."""


def lane(moments: Sequence[float | None], whole: float) -> Sequence[Stretch]:
    """What a client did in a round, in seconds after its opening: when it took its task, had sent its update, and had
    reported. None: it has not come to that, and goes on until `whole`, the round's length so far.
    """
    stretches, begun = [], 0.0
    for kind, moment in zip(("waits", "works", "sends"), moments, strict=True):
        ended = min(max(whole if moment is None else moment, begun), whole)
        if ended > begun and whole > 0:
            width = max((ended - begun) / whole * LANE, 0.5)
            stretches.append(Stretch(round(begun / whole * LANE, 2), round(width, 2), kind, ended - begun))
        if moment is None:
            break
        begun = ended
    return stretches


def spark(values: Sequence[float], width: int = 120, height: int = 32) -> str:
    """The points of a line without axes; empty for fewer than two values."""
    if len(values) < 2:
        return ""
    per = math.ceil(len(values) / width)
    shown = [*values[:-1:per], values[-1]]
    low, high = min(shown), max(shown)
    across = width / (len(shown) - 1)
    return " ".join(
        f"{round(index * across, 1)},{round((high - value) / (high - low) * height if high > low else height / 2, 1)}"
        for index, value in enumerate(shown)
    )
