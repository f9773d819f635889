"""Aggregators: the updates of a cohort → one update. A rule a module, and a line in `RULES`.

There are two kinds of rule, by what they have to see, so that no rule needs more of the updates in memory than it must:

    ByElement    looks at one element of all updates at a time: at a block of cohort by elements
    ByDistance   looks at the updates as vectors, and only at their inner products: at the cohort's Gram matrix, added
                 up from blocks (`gram`). It answers with the share of each update; to add them is a pass of its own

An update is the difference of a client's params to those it began from, in float64; rows stand in canonical order.
Weights are those of the accepted list: examples, or 1. Integer arrays and buffers are no matter of these rules.
"""

from collections.abc import Mapping
from typing import Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hansa.core.aggregators.geometric_median import GeometricMedian
from hansa.core.aggregators.krum import Krum, MultiKrum
from hansa.core.aggregators.mean import Mean, Sum
from hansa.core.aggregators.median import Median
from hansa.core.aggregators.norm_bounded import NormBoundedMean
from hansa.core.aggregators.shares import Needs, Shares
from hansa.core.aggregators.trimmed_mean import TrimmedMean

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Block = NDArray[np.floating]


@runtime_checkable
class ByElement(Protocol):
    """Every element by itself, so it does not matter how the model is cut."""

    @property
    def least(self) -> int:
        """The smallest cohort of which the rule says anything."""

    def combine(self, block: Block, weights: Vector) -> Vector:
        """The update, from those of the cohort: (cohort, n) → (n,). `block` may be changed, and hold float32."""


class ByDistance(Protocol):
    """Each update as a whole, by its inner products with the others."""

    @property
    def least(self) -> int:
        """As for `ByElement`."""

    @property
    def needs(self) -> Needs:
        """What of the updates it looks at."""

    def shares(self, measured: Vector | Matrix, weights: Vector) -> Shares:
        """How much of each update there is in the update; `measured` is what it needs."""


Aggregator = ByElement | ByDistance


def check(rule: Aggregator, cohort: int) -> None:
    """Raise ValueError where the rule says nothing of so few updates.

    >>> check(Krum(byzantine=1), 4)
    Traceback (most recent call last):
    ValueError: 4 updates are too few for Krum(byzantine=1); have 5 or more report
    """
    if cohort < rule.least:
        raise ValueError(f"{cohort} updates are too few for {rule!r}; have {rule.least} or more report")


RULES: Final[Mapping[str, type[ByElement] | type[ByDistance]]] = {
    "weighted_mean": Mean,
    "sum": Sum,
    "norm_bounded_mean": NormBoundedMean,
    "median": Median,
    "trimmed_mean": TrimmedMean,
    "krum": Krum,
    "multi_krum": MultiKrum,
    "geometric_median": GeometricMedian,
}
