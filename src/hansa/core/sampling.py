"""Which clients take part in a round: rules for drawing a cohort, and the record from which each can be drawn again."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from hansa.core.seeds import selection_rng

Rule = Literal["uniform", "by_examples", "round_robin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """All that decides who is selected for one attempt at a round: the same draw selects the same clients."""

    rule: Rule
    size: int
    candidates: tuple[int, ...]
    """The ordinals of those who can be selected, ascending."""
    weights: tuple[int, ...] = ()
    """by_examples: the examples of each candidate; see `filled`."""
    cursor: int | None = None
    """round_robin: the last client that was selected before; None: nobody was."""
    seed: int
    """The training's. With the numbers below it makes the generator, `core.seeds.selection_rng`."""
    round: int
    attempt: int


def choose(draw: Draw) -> list[int]:
    """The ordinals that a draw selects, ascending (canonical). Raises ValueError for an impossible size."""
    rng = selection_rng(draw.seed, draw.round, draw.attempt)
    match draw.rule:
        case "uniform":
            return select(draw.candidates, draw.size, rng)
        case "by_examples":
            return select_by_weight(draw.candidates, draw.weights, draw.size, rng)
        case "round_robin":
            return sorted(_behind(draw.cursor, draw.candidates)[: _possible(draw.size, draw.candidates)])


def record(draw: Draw, selected: Sequence[int]) -> dict[str, Any]:  # Any: a JSON object
    """The draw and whom it selected, as a JSON object."""
    return {**asdict(draw), "selected": list(selected)}


def replay(recorded: Mapping[str, Any]) -> list[int]:  # Any: as above
    """Select again from what `record` kept, and from nothing else.

    >>> once = Draw(rule="round_robin", size=2, candidates=(0, 1, 4), cursor=1, seed=7, round=2, attempt=1)
    >>> replay(record(once, choose(once)))
    [0, 4]
    """
    return choose(_draw(recorded))


def last_selected(recorded: Mapping[str, Any]) -> int | None:  # Any: as above
    """Where the next round-robin goes on: the client that a recorded one came to last."""
    draw = _draw(recorded)
    return max(recorded["selected"], key=lambda ordinal: _turn(draw.cursor, ordinal), default=draw.cursor)


def _draw(recorded: Mapping[str, Any]) -> Draw:  # Any: as above
    kept = {key: value for key, value in recorded.items() if key != "selected"}
    return Draw(**{**kept, "candidates": tuple(kept["candidates"]), "weights": tuple(kept["weights"])})


def filled(examples: Sequence[int | None]) -> tuple[int, ...]:
    """Weights for `by_examples`: who has not reported yet counts as the mean of those who have, to the nearest whole
    number, or as 1 where nobody has.

    >>> filled([10, None, 21])
    (10, 16, 21)
    """
    known = [count for count in examples if count is not None]
    mean = (2 * sum(known) + len(known)) // (2 * len(known)) if known else 1
    return tuple(mean if count is None else count for count in examples)


def select(ordinals: Sequence[int], size: int, rng: np.random.Generator) -> list[int]:
    """`size` of the ordinals, uniformly without replacement, in ascending (canonical) order.

    Every place in `ordinals` draws a key and the lowest keys are in. Only `rng.random` is used, whose stream numpy
    has kept, where `choice` and `permutation` may change with a release. Raises ValueError for an impossible size.

    >>> select([7, 3, 5], 3, np.random.default_rng(0))
    [3, 5, 7]
    """
    lowest = np.argsort(rng.random(len(ordinals)), kind="stable")[: _possible(size, ordinals)]
    return sorted(ordinals[int(place)] for place in lowest)


def select_by_weight(ordinals: Sequence[int], weights: Sequence[int], size: int, rng: np.random.Generator) -> list[int]:
    """`size` of the ordinals without replacement, in ascending (canonical) order; `weights` are whole, at least 1.

    One after the other, each with the probability weight / sum of the weights of those not drawn yet: algorithm D of
    Efraimidis and Spirakis 2006, "Weighted random sampling with a reservoir". Who is drawn for a place is in proportion
    to the weights; who is in the cohort at all comes near to it, and less so the larger a part of all the cohort is.
    A draw is 53 random bits scaled to the sum in whole numbers: the same on every machine. O(size · log n).
    Raises ValueError for an impossible size.

    >>> select_by_weight([3, 5, 7], [1, 10**12, 1], 1, np.random.default_rng(0))
    [5]
    """
    sums = _Sums(weights)
    drawn = []
    for _ in range(_possible(size, ordinals)):
        bits = int(rng.random() * 2.0**53)  # exact: random() is a multiple of 2^-53
        place = sums.find(bits * sums.total >> 53)
        sums.take(place, weights[place])
        drawn.append(ordinals[place])
    return sorted(drawn)


class _Sums:
    """Partial sums of weights in a binary indexed tree: to find a place by them, and take one out, in O(log n)."""

    def __init__(self, weights: Sequence[int]) -> None:
        self.total = sum(weights)
        self._tree = [0, *weights]
        for node in range(1, len(self._tree)):
            above = node + (node & -node)
            if above < len(self._tree):
                self._tree[above] += self._tree[node]

    def find(self, position: int) -> int:
        """The first place at which the sum of the weights up to and with it is above `position`."""
        node, step = 0, 1 << len(self._tree).bit_length()
        while step := step >> 1:
            if node + step < len(self._tree) and self._tree[node + step] <= position:
                node += step
                position -= self._tree[node]
        return node

    def take(self, place: int, weight: int) -> None:
        self.total -= weight
        node = place + 1
        while node < len(self._tree):
            self._tree[node] -= weight
            node += node & -node


def _behind(cursor: int | None, ordinals: Sequence[int]) -> list[int]:
    """All the ordinals in join order, beginning behind the cursor, be that client still there or not."""
    return sorted(ordinals, key=lambda ordinal: _turn(cursor, ordinal))


def _turn(cursor: int | None, ordinal: int) -> tuple[bool, int]:
    return (cursor is not None and ordinal <= cursor, ordinal)


def _possible(size: int, ordinals: Sequence[int]) -> int:
    if not 0 <= size <= len(ordinals):
        raise ValueError(f"size is {size}, but there are {len(ordinals)} clients to select from")
    return size
