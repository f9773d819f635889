"""Curves as SVG, drawn here: they are there without a script, on paper and for a screen reader. Pure.

Coordinates are those of a box of `WIDTH` by `HEIGHT`; style is the style sheet's.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

WIDTH: Final = 640
HEIGHT: Final = 220
LEFT: Final = 52
"""Room for the numbers beside the axis."""
BELOW: Final = 24
SMALLEST_STEP: Final = 1e-300
"""Between two numbers beside an axis; what is closer than that has no decimal steps in between."""
MOST_POINTS: Final = 320
"""Of a curve: more cannot be told apart at this width."""


class Point(NamedTuple):
    """What a round's clients measured."""

    round: int
    mean: float
    low: float
    high: float
    clients: int = 0
    """How many measured it."""


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
    """As a polygon has it: along the maxima, and back along the minima; empty where no two clients are apart."""
    across: Sequence[Tick]
    up: Sequence[Tick]
    last: Point
    last_at: tuple[float, float]
    points: Sequence[Point]
    own: str = ""
    """The line of the client that is looked at; empty without one."""

    @property
    def summary(self) -> str:
        """For who does not see it."""
        return summary(self.name, self.points)


def summary(name: str, points: Sequence[Point]) -> str:
    """Where a metric began, where it is, and how far its clients are apart there, if they are."""
    first, last = points[0], points[-1]
    apart = f"; over the clients from {number(last.low)} to {number(last.high)}" if last.low < last.high else ""
    return f"{name}: {number(first.mean)} in round {first.round}, {number(last.mean)} in round {last.round}{apart}"


def curve(name: str, points: Sequence[Point], own: Mapping[int, float] | None = None) -> Curve:
    """Draw points, at least one, by ascending round; and over them what one client measured, by round."""
    shown = thinned(points)
    theirs = [(each.round, own[each.round]) for each in shown if own and each.round in own]
    low = min([*(point.low for point in shown), *(value for _, value in theirs)])
    high = max([*(point.high for point in shown), *(value for _, value in theirs)])
    steps = ticks(low, high)
    bottom, top = min(low, steps[0]), max(high, steps[-1])
    height = top / 2 - bottom / 2  # halves do not overflow
    first, last = shown[0].round, shown[-1].round

    across = (WIDTH - LEFT - 8) / (last - first) if last > first else 0.0
    left = LEFT if last > first else LEFT + (WIDTH - LEFT - 8) / 2
    deep = HEIGHT - BELOW - 8

    def x(round_number: int) -> float:
        return left + (round_number - first) * across

    def y(value: float) -> float:
        return 8 + deep * (1 - (value / 2 - bottom / 2) / height if height > 0 else 0.5)

    def path(values: Sequence[tuple[int, float]]) -> str:
        return " ".join([f"{x(number):.1f},{y(value):.1f}" for number, value in values])

    is_spread = any(point.low < point.high for point in shown)
    highs = [(point.round, point.high) for point in shown if is_spread]
    lows = [(point.round, point.low) for point in reversed(shown) if is_spread]
    whole = sorted({round(each) for each in ticks(first, last) if first <= each <= last and float(each).is_integer()})
    return Curve(
        name=name,
        line=path([(point.round, point.mean) for point in shown]),
        band=path([*highs, *lows]),
        across=[Tick(round(x(each), 1), str(each)) for each in whole],
        up=[Tick(round(y(each), 1), number(each)) for each in steps],
        last=shown[-1],
        last_at=(round(x(last), 1), round(y(shown[-1].mean), 1)),
        points=points,
        own=path(theirs),
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
        mean=sum(point.mean / len(points) for point in points),
        low=min(point.low for point in points),
        high=max(point.high for point in points),
        clients=max(point.clients for point in points),
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
        return [each for each in (low - step, low, low + step) if math.isfinite(each)]
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
    """A part of a lane: `kind` is `waits`, `downloads`, `works`, `sends` or `tests`."""

    at: float
    width: float
    kind: str
    seconds: float


LANE: Final = 200.0
"""Width of a lane; its height is the style sheet's."""


def lane(steps: Sequence[tuple[str, float | None]], whole: float) -> Sequence[Stretch]:
    """What a client did in a round, one after the other: the kind of each step, and when it ended, in seconds after the
    round's opening. None: it has not, and goes on until `whole`, the round's length so far.
    """
    stretches, begun = [], 0.0
    for kind, moment in steps:
        ended = min(max(whole if moment is None else moment, begun), whole)
        if ended > begun and whole > 0:
            width = max((ended - begun) / whole * LANE, 0.5)
            stretches.append(Stretch(round(begun / whole * LANE, 2), round(width, 2), kind, ended - begun))
        if moment is None:
            break
        begun = ended
    return stretches


def tested(begun: float | None, ended: float | None, whole: float) -> Sequence[Stretch]:
    """What follows on a lane where a client evaluates, or gathers moments: from its lease to its report."""
    if begun is None or whole <= 0 or begun >= whole:
        return []
    until = min(max(whole if ended is None else ended, begun), whole)
    width = max((until - begun) / whole * LANE, 0.5)
    return [Stretch(round(begun / whole * LANE, 2), round(width, 2), "tests", until - begun)]


@dataclass(frozen=True, slots=True)
class Dot:
    """An update in the plane of norms and cosines."""

    name: str
    x: float
    y: float
    radius: float
    """Its area is its weight."""
    apart: str
    """Why it stands apart; empty: it does not."""
    summary: str


@dataclass(frozen=True, slots=True)
class Scatter:
    """The updates of a round by norm, across, and cosine, upwards."""

    dots: Sequence[Dot]
    across: Sequence[Tick]
    up: Sequence[Tick]


def scatter(updates: Sequence[tuple[str, float, float, float | None, str]]) -> Scatter:
    """Of each update name, norm, cosine, weight in the aggregate and why it stands apart. At least one update.

    Without a weight, where a rule went by rank, all count as a tenth.
    """
    norms, cosines = [each[1] for each in updates], [each[2] for each in updates]
    steps = [each for each in ticks(min(norms), max(norms)) if each >= 0]
    left, right = min([*steps, *norms]), max([*steps, *norms])
    up = ticks(min(0.0, *cosines), 1.0)
    bottom, top = min(up[0], *cosines), up[-1]

    def x(norm: float) -> float:
        return round(LEFT + ((norm - left) / (right - left) if right > left else 0.5) * (WIDTH - LEFT - 20), 1)

    def y(cosine: float) -> float:
        return round(12 + (top - cosine) / (top - bottom) * (HEIGHT - BELOW - 20), 1)

    dots = [
        Dot(
            name,
            x(norm),
            y(cosine),
            round(3 + 14 * math.sqrt(0.1 if weight is None else min(max(weight, 0.0), 1.0)), 1),
            apart,
            f"{name}: norm {number(norm)}, cosine {cosine:.3f}, "
            + ("by rank" if weight is None else f"weight {weight:.1%}")
            + (f"; {apart}" if apart else ""),
        )
        for name, norm, cosine, weight, apart in updates
    ]
    return Scatter(dots, [Tick(x(each), number(each)) for each in steps], [Tick(y(each), number(each)) for each in up])


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
