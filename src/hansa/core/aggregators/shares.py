"""What a rule that looks at updates as vectors answers with, and what it has to know of them."""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


class Needs(IntEnum):
    """What has to be measured of the updates before a rule can tell their shares: each is more work than the last."""

    NOTHING = 0
    NORMS = 1
    """⟨uᵢ, uᵢ⟩ of each, (cohort,)."""
    PRODUCTS = 2
    """The Gram matrix ⟨uᵢ, uⱼ⟩, (cohort, cohort)."""


class Shares(NamedTuple):
    """The update is Σ wᵢ·uᵢ / W."""

    weights: Vector
    """wᵢ, never negative. Where it is 0 the update is not read."""
    total: float | None = None
    """W; None: Σ wᵢ. Then the update is a mean of updates, and the params are the same mean of params."""

    def factors(self) -> Vector:
        """wᵢ / W of each.

        >>> Shares(np.array([1.0, 3.0])).factors()
        array([0.25, 0.75])
        """
        return np.asarray(self.weights / (self.weights.sum() if self.total is None else self.total))

    def scaled(self, by: Vector) -> "Shares":
        """Those of updates that are scaled: a mean stays a mean where all factors are 1, and W is what it was."""
        if (by == 1).all():
            return self
        return Shares(self.weights * by, float(self.weights.sum()) if self.total is None else self.total)


def clipped(measured: NDArray[np.float64], scales: Vector) -> NDArray[np.float64]:
    """What was measured of the updates, of scaled ones: 0 of what is scaled by 0, whatever it was.

    >>> clipped(np.array([1.0, np.inf]), np.array([0.5, 0.0]))
    array([0.25, 0.  ])
    """
    with np.errstate(invalid="ignore"):
        found = measured * (np.square(scales) if measured.ndim == 1 else np.outer(scales, scales))
    return np.asarray(np.where(np.isnan(found), 0.0, found))


def clipping(norms: Vector, bound: float) -> Vector:
    """min(1, C/‖uᵢ‖) of each, C `bound`; 0 for a norm that float64 does not hold.

    >>> clipping(np.array([0.0, 1.0, 4.0, np.inf]), bound=2.0)
    array([1. , 1. , 0.5, 0. ])
    """
    return np.asarray(bound / np.maximum(norms, bound))
