"""The median of each element."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hansa.core.aggregators.ranks import ranked


@dataclass(frozen=True, slots=True)
class Median:
    """The coordinate-wise median (Yin et al. 2018, arXiv:1803.01498, definition 1): fewer than half of the clients may
    send whatever they like, and no element leaves the range of what the others sent.

    It does not know weights: a client cannot count twice by saying that it has twice as many examples.
    """

    least: ClassVar[int] = 1
    """Of one or two updates the median is their mean, which is told and not refused."""

    def combine(self, block: NDArray[np.floating], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of each column; of an even number the mean of the two in the middle.

        >>> Median().combine(np.array([[1.0, 5.0], [2.0, -9.0], [40.0, 6.0]]), np.ones(3))
        array([2., 5.])
        """
        del weights
        middle, is_odd = divmod(len(block), 2)
        found = np.empty(block.shape[1])
        for where, values in ranked(block):
            found[where] = values[:, middle]
            if not is_odd:  # halves first: their sum may leave float64's range
                found[where] /= 2
                found[where] += values[:, middle - 1].astype(np.float64) / 2
        return found
