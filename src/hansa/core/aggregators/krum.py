"""Krum: the update that has the closest neighbours; and the mean of several of them."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hansa.core.aggregators.gram import squared_distances
from hansa.core.aggregators.shares import Needs, Shares

Vector = NDArray[np.float64]


def scores(gram: NDArray[np.float64], byzantine: int) -> Vector:
    """s(i) = Σ ‖Vᵢ - Vⱼ‖² over the n - f - 2 vectors closest to Vᵢ (Blanchard et al. 2017, arXiv:1703.02757).

    f: `byzantine`. Raises ValueError unless there is at least one such neighbour.
    """
    count = len(gram) - byzantine - 2
    if count < 1:
        raise ValueError(
            f"of {len(gram)} updates with {byzantine} byzantine ones nobody has a neighbour to be measured by"
        )
    distances = squared_distances(gram)
    np.fill_diagonal(distances, np.inf)
    nearest = np.sort(distances, axis=1)[:, :count]
    return np.asarray(np.add.reduce(nearest, axis=1))


@dataclass(frozen=True, slots=True)
class MultiKrum:
    """The mean of the m updates with the smallest scores, m `keep`, f `byzantine` (Blanchard et al. 2017,
    arXiv:1703.02757). It does not know weights: a client cannot count twice by what it says of its examples.
    """

    needs: ClassVar[Needs] = Needs.PRODUCTS
    byzantine: int
    keep: int

    def __post_init__(self) -> None:
        if self.byzantine < 0:
            raise ValueError(f"byzantine is {self.byzantine}; how many clients may send anything is 0 or more")
        if self.keep < 1:
            raise ValueError(f"keep is {self.keep}; at least one update is kept")

    @property
    def least(self) -> int:
        """2f + 3, of fewer the paper promises nothing; and m + f, or a byzantine one would have to be kept."""
        return max(2 * self.byzantine + 3, self.keep + self.byzantine)

    def shares(self, measured: NDArray[np.float64], weights: Vector) -> Shares:
        """1 for each that is kept, 0 for the others. Of equal scores the one that joined first is kept."""
        del weights
        kept = np.argsort(scores(measured, self.byzantine), kind="stable")[: self.keep]
        shares = np.zeros(len(measured))
        shares[kept] = 1.0
        return Shares(shares)


@dataclass(frozen=True, slots=True)
class Krum:
    """The update with the smallest score (Blanchard et al. 2017, arXiv:1703.02757): `MultiKrum` that keeps one.

    >>> near, far = np.array([1.0, 0.0]), np.array([50.0, -9.0])
    >>> updates = np.array([near, near + 0.1, far, near - 0.1, near])
    >>> Krum(byzantine=1).shares(updates @ updates.T, np.ones(5)).weights
    array([1., 0., 0., 0., 0.])
    """

    needs: ClassVar[Needs] = Needs.PRODUCTS
    byzantine: int

    @property
    def least(self) -> int:
        """As of `MultiKrum`."""
        return MultiKrum(self.byzantine, keep=1).least

    def shares(self, measured: NDArray[np.float64], weights: Vector) -> Shares:
        """1 for the one that is kept."""
        return MultiKrum(self.byzantine, keep=1).shares(measured, weights)
