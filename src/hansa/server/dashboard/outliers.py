"""Which updates of a round stand apart from the others: a hint for people, on which nothing else hangs. Pure.

The rule is the modified z-score: 0.6745·(x - median) / MAD, where MAD is the median distance from the median, is beyond
3.5 (Iglewicz and Hoaglin 1993, "How to detect and handle outliers"). Norms are compared by their logarithms, because
one that is ten times as long is as far away as one that is a tenth; cosines as they are, and only downwards: nobody is
conspicuous for agreeing. Fewer than five updates say too little of what is usual, and then none is marked.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final, TypeVar

LIMIT: Final = 3.5
FEWEST: Final = 5
CLOSE: Final = 0.02
"""A median distance below this, 2 % of the norm or 0.02 of a cosine, counts as this: of updates that are all alike
nobody stands apart for a hair's breadth."""
RULE: Final = (
    "Marked are updates whose modified z-score (0.6745 of the distance from the median, over the median of all such "
    "distances) is beyond 3.5, "
    "in the logarithm of the norm or, downwards, in the cosine; with fewer than five updates none is."
)

Key = TypeVar("Key")


def outliers(norms: Mapping[Key, float], cosines: Mapping[Key, float]) -> Mapping[Key, str]:
    """Of each that stands apart the reason.

    >>> outliers({"a": 1.0, "b": 1.1, "c": 0.9, "d": 1.05, "e": 40.0}, {})
    {'e': 'norm far above the others'}
    """
    logs = {key: math.log(norm) for key, norm in norms.items() if norm > 0}
    found = {}
    for key, score in _scores(logs).items():
        if abs(score) > LIMIT:
            found[key] = f"norm far {'above' if score > 0 else 'below'} the others"
    for key, score in _scores(cosines).items():
        if score < -LIMIT:
            found[key] = f"{found[key]}, another direction" if key in found else "another direction than the others"
    return found


def _scores(values: Mapping[Key, float]) -> Mapping[Key, float]:
    if len(values) < FEWEST:
        return {}
    center = median(values.values())
    spread = max(_distance(list(values.values()), center), CLOSE)
    return {key: 0.6745 * (value - center) / spread for key, value in values.items()}


def _distance(values: Sequence[float], center: float) -> float:
    return median(abs(value - center) for value in values)
