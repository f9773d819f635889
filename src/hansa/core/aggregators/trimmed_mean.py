"""The mean of each element without the largest and the smallest values."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hansa.core.aggregators.ranks import ranked


@dataclass(frozen=True, slots=True)
class TrimmedMean:
    """The coordinate-wise trimmed mean (Yin et al. 2018, arXiv:1803.01498, definition 2), with β `trim`.

    Of m values of an element the ⌊β·m⌋ largest and as many smallest are left out, and the others count alike: it does
    not know weights, for the reason that `Median` has. Up to ⌊β·m⌋ clients may send whatever they like.
    """

    trim: float

    def __post_init__(self) -> None:
        if not 0 <= self.trim < 0.5:
            raise ValueError(f"trim is {self.trim}; the share left out on either side is from 0 to less than 0.5")

    @property
    def least(self) -> int:
        """As many as it takes to leave one out on either side: else it would be a mean by another name."""
        if self.trim == 0:
            return 1
        near = max(1, math.ceil(1 / self.trim) - 1)  # the division may be off by its last bit, and `left_out` decides
        return near if self.left_out(near) else near + 1

    def left_out(self, cohort: int) -> int:
        """⌊β·m⌋: how many on either side. A product that misses a whole number by its last bits is that number; one
        is always left.
        """
        return min(int(np.floor(np.round(self.trim * cohort, 9))), (cohort - 1) // 2)

    def combine(self, block: NDArray[np.floating], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of each column. What is left is added from its sorted order, which any order of the rows leads to.

        >>> TrimmedMean(trim=0.25).combine(np.array([[1.0], [2.0], [4.0], [90.0]]), np.ones(4))
        array([3.])
        """
        del weights
        k, found = self.left_out(len(block)), np.empty(block.shape[1])
        for where, values in ranked(block):
            # In float64 before they are added, or numpy's buffer would decide in which groups they are.
            found[where] = np.add.reduce(values[:, k : len(block) - k].astype(np.float64), axis=1)
        return np.asarray(found / (len(block) - 2 * k))
