"""How long to wait before trying again."""

from random import Random


class Backoff:
    """Full jitter: the n-th wait is uniform in [0, min(cap, base·2ⁿ)], so that clients cut off together do not come
    back together (Brooker 2015, "Exponential backoff and jitter").

    >>> backoff = Backoff(Random(1), base=0.1, cap=10.0)
    >>> [backoff.next() <= bound for bound in (0.1, 0.2, 0.4, 0.8)]
    [True, True, True, True]
    """

    def __init__(self, rng: Random, *, base: float = 0.1, cap: float = 10.0) -> None:
        self._rng = rng
        self._base = base
        self._cap = cap
        self._attempts = 0

    def next(self, *, at_least: float = 0.0) -> float:
        """Seconds to wait now; `at_least` is what the server asked for, and the jitter comes on top of it."""
        bound = min(self._cap, self._base * 2.0 ** min(self._attempts, 60))
        self._attempts += 1
        return at_least + self._rng.uniform(0.0, bound)

    def reset(self) -> None:
        """It worked: the next wait is short again."""
        self._attempts = 0
