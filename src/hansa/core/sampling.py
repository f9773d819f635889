"""Which clients take part in a round."""

from collections.abc import Sequence

import numpy as np


def select(ordinals: Sequence[int], size: int, rng: np.random.Generator) -> list[int]:
    """`size` of the ordinals, uniformly without replacement, in ascending (canonical) order.

    Every place in `ordinals` draws a key and the lowest keys are in. Only `rng.random` is used, whose stream numpy
    has kept, where `choice` and `permutation` may change with a release. Raises ValueError for an impossible size.

    >>> select([7, 3, 5], 3, np.random.default_rng(0))
    [3, 5, 7]
    """
    if not 0 <= size <= len(ordinals):
        raise ValueError(f"size is {size}, but there are {len(ordinals)} clients to select from")
    lowest = np.argsort(rng.random(len(ordinals)), kind="stable")[:size]
    return sorted(ordinals[int(place)] for place in lowest)
