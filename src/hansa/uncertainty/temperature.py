"""One temperature for the logits of a version, found by all clients together: Guo et al. 2017, arXiv:1706.04599, eq. 9.

    p = softmax(z / T)    T = argmin Σ -ln p_y over the calibration examples of all clients

A client computes the sum of its losses for each temperature of a fixed grid, once, and the server adds the sums up: the
minimum over the grid is that of all examples, with no second exchange. T > 1 makes a model less sure, T < 1 surer; the
most likely class stays the same.

What the sums reveal: the mean loss of a client's examples under 65 temperatures, some 1 KB; no inputs, no labels. Of a
client with a single example it is the loss of that one.

One temperature has been fitted to the examples it came from. Conformal scores of the same examples are therefore no
longer quite exchangeable with new ones; whoever wants the guarantee to the letter takes other examples for the scores.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hansa.uncertainty.probabilities import Floats, Labels, class_labels, floats, softmax
from hansa.uncertainty.reports import ReportError, check_whole, check_wholes, fixed_point

STEPS = 8
"""Temperatures for a factor of 2."""
GRID = "temperatures-8"
"""The name of this grid: sums over another one cannot be added to these."""
TEMPERATURES = tuple(round(2.0 ** (step / STEPS), 6) for step in range(-4 * STEPS, 4 * STEPS + 1))
"""1/16 to 16 in 65 steps of 9 %; six decimals, so that they are the same numbers on every machine."""

LOSS_BITS = 20
"""Losses are counted in units of 2^-20 nats: the mean is right to 5e-7 nats."""
LOSS_CAP = 2.0**14
"""Nats that one example counts at most. A loss beyond 745 is already that of a probability which is 0 in float64."""

_ROWS = 4096


@dataclass(frozen=True, slots=True)
class LossSums:
    """Σ -ln p_y of `count` examples at each of TEMPERATURES, in units of 2^-20 nats.

    Raises ReportError when impossible. Adding them up, `merged`, gives the same whole numbers in every order.
    """

    sums: tuple[int, ...]
    count: int
    grid: str = GRID

    def __post_init__(self) -> None:
        if self.grid != GRID:
            raise ReportError("grid", f"is {self.grid!r:.40}; the losses are wanted on {GRID!r}. Update the client")
        check_whole("count", self.count)
        check_wholes("sums", self.sums, len(TEMPERATURES))
        most = self.count * int(LOSS_CAP) << LOSS_BITS
        if max(self.sums) > most:
            raise ReportError("sums", f"has {max(self.sums)}; {self.count} examples have a loss of at most {most}")

    def mean(self, place: int) -> float:
        """The mean loss in nats at TEMPERATURES[place]. Raises ValueError without examples."""
        if not self.count:
            raise ValueError("there are no examples; a mean loss needs at least one")
        return self.sums[place] / (self.count << LOSS_BITS)


@dataclass(frozen=True, slots=True)
class Temperature:
    """The temperature of the least loss. `at_edge`: an end of the grid has no more, and the least may lie beyond."""

    value: float
    at_edge: bool
    examples: int


def loss_sums(logits: ArrayLike, labels: ArrayLike) -> LossSums:
    """The losses of one client: logits (n, C) of any real dtype, labels (n,) from 0 to C - 1.

    Takes 65 · n · C exponentials and about 96 KB of memory for each class. Raises ValueError as `floats` and
    `class_labels` do.

    >>> sums = loss_sums([[1.0, -1.0], [1.0, -1.0]], [0, 1])
    >>> sums.count, round(sums.mean(TEMPERATURES.index(1.0)), 4)
    (2, 1.1269)
    """
    values = floats("logits", logits, 2)
    right = class_labels(labels, (values.shape[0], values.shape[1]))
    totals = [0] * len(TEMPERATURES)
    for start in range(0, len(values), _ROWS):
        rows = slice(start, start + _ROWS)
        for place, loss in enumerate(_losses(values[rows], right[rows])):
            totals[place] += loss
    return LossSums(tuple(totals), len(values))


def merged(parts: Iterable[LossSums]) -> LossSums:
    """The losses of all of them together, whatever the order. Of none: no examples."""
    listed = list(parts)
    columns = zip(*(part.sums for part in listed), strict=True)
    sums = tuple(sum(column) for column in columns) if listed else (0,) * len(TEMPERATURES)
    return LossSums(sums, sum(part.count for part in listed))


def best(losses: LossSums) -> Temperature:
    """The temperature with the least loss: the lowest point of the parabola in ln T through the least of the grid and
    its neighbours; of equal ones that nearest to 1.

    It can be computed again anywhere: the parabola is of whole numbers, one division that is rounded once, and T is
    rounded to six digits, beyond which powers may differ between machines. Raises ValueError without examples.
    """
    if not losses.count:
        raise ValueError("there are no examples to find a temperature with; ask clients for their loss sums first")
    middle = len(TEMPERATURES) // 2
    place = min(range(len(TEMPERATURES)), key=lambda index: (losses.sums[index], abs(index - middle)))
    if losses.sums[place] in {losses.sums[0], losses.sums[-1]}:
        return Temperature(TEMPERATURES[place], at_edge=True, examples=losses.count)
    below, least, above = losses.sums[place - 1 : place + 2]
    curvature = below - 2 * least + above
    offset = (below - above) / (2 * curvature) if curvature else 0.0  # in steps, from -1/2 to 1/2
    value = 2.0 ** ((place - middle + offset) / STEPS)
    return Temperature(float(f"{value:.6g}"), at_edge=False, examples=losses.count)


def tempered(logits: ArrayLike, temperature: float) -> Floats:
    """softmax(z / T) of logits (n, C), float64. Raises ValueError unless T is finite and greater than 0.

    >>> tempered([[2.0, 0.0]], 2.0).round(3)
    array([[0.731, 0.269]])
    """
    if not (np.isfinite(temperature) and temperature > 0):
        raise ValueError(f"the temperature is {temperature}; it is finite and greater than 0")
    values = floats("logits", logits, 2)
    with np.errstate(over="ignore"):  # -inf, where a class is infinitely unlikely
        return softmax((values - values.max(axis=1, keepdims=True)) / temperature)


def _losses(logits: Floats, labels: Labels) -> Iterable[int]:
    """For each temperature ln Σ_c exp((z_c - max z) / T) - (z_y - max z) / T, summed up over the rows."""
    with np.errstate(over="ignore"):  # as above
        below_top = logits - logits.max(axis=1, keepdims=True)
    right = below_top[np.arange(len(labels)), labels]
    for temperature in TEMPERATURES:
        with np.errstate(under="ignore", over="ignore"):  # the loss of what is infinitely unlikely is capped
            loss = np.log(np.exp(below_top / temperature).sum(axis=1)) - right / temperature
        yield fixed_point(np.minimum(loss, LOSS_CAP), LOSS_BITS)
