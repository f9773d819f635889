"""The geometric median: the point with the least weighted sum of distances to the updates."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hansa.core.aggregators.shares import Needs, Shares

Vector = NDArray[np.float64]

SETTLED = 1e-10
"""By so much all shares together move in the last iteration."""
NEAR = 1e-7
"""Of a norm: what inner products do not tell from no distance."""


@dataclass(frozen=True, slots=True)
class GeometricMedian:
    """RFA (Pillutla et al. 2022, arXiv:1912.13445, the smoothed Weiszfeld algorithm): argmin over z of Σ αᵢ·‖z - wᵢ‖.

    αᵢ are the weights' shares, `smoothing` is the paper's nu, and `iterations` its R, the most that are made: they end
    where the shares have settled. Each iterate is a mean of the updates, so its distances follow from the Gram matrix
    and no iteration reads the updates again. Clients with less than half of all weight together move it by no more
    than a bounded multiple of how far the others are apart.

    The paper begins at the mean, which updates of any size carry away, by more than any number of iterations makes up
    for. Here the first distances are those to the update that has the least sum of them: that is an honest one, or one
    that lies among those. Distances that follow from inner products are right to about 1e-8 of the norms of the two.
    """

    least: ClassVar[int] = 1
    needs: ClassVar[Needs] = Needs.PRODUCTS
    iterations: int = 100
    smoothing: float = 1e-6

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ValueError(f"iterations is {self.iterations}; at least one is made")
        if not self.smoothing > 0:
            raise ValueError(
                f"smoothing is {self.smoothing}; it is greater than 0, or a distance of 0 would be divided by"
            )

    def shares(self, measured: NDArray[np.float64], weights: Vector) -> Shares:
        """βᵢ = αᵢ / max(nu, ‖z - wᵢ‖) of Σ βⱼ, again and again. Without those whose norm no float64 holds.

        >>> points = np.array([[0.0], [1.0], [100.0]])
        >>> factors = GeometricMedian(iterations=100).shares(points @ points.T, np.ones(3)).factors()
        >>> round(float(factors @ points[:, 0]), 3)
        1.0
        """
        held = np.isfinite(np.diagonal(measured))
        gram = np.where(held[:, None] & held[None, :], measured, 0.0)
        shares = np.where(held, weights, 0.0)
        shares = shares / shares.sum()
        distances = _from_the_middle(gram, shares)
        factors = np.zeros_like(shares)
        for _ in range(self.iterations):
            before, factors = factors, self._bettered(shares, distances)
            if np.abs(factors - before).sum() <= SETTLED:
                break
            distances = _distances(gram, factors)
        return Shares(factors)

    def _bettered(self, shares: Vector, distances: Vector) -> Vector:
        closeness = shares / np.maximum(self.smoothing, distances)
        return np.asarray(closeness / closeness.sum())


def _from_the_middle(gram: NDArray[np.float64], shares: Vector) -> Vector:
    """The distances to the update with the least Σ αⱼ·‖wᵢ - wⱼ‖. Those that are there themselves count as being as far
    as the nearest that is not: an iterate that begins at an update has it for a mean, and hardly leaves it.
    """
    norms = np.diagonal(gram)
    apart = np.sqrt(np.maximum(norms[:, None] + norms[None, :] - 2 * gram, 0.0))
    middle = int(np.argmin(np.where(shares > 0, np.add.reduce(apart * shares, axis=1), np.inf)))
    elsewhere = apart[middle] > NEAR * np.sqrt(norms[middle])
    nearest = np.min(apart[middle], initial=np.inf, where=elsewhere & (shares > 0))
    return np.asarray(np.where(elsewhere, apart[middle], nearest if np.isfinite(nearest) else 0.0))


def _distances(gram: NDArray[np.float64], factors: Vector) -> Vector:
    """‖Σ aⱼ·uⱼ - uᵢ‖ of each, in the order of the rows: no BLAS, whose sums depend on its threads."""
    products = np.add.reduce(gram * factors, axis=1)
    square = float(np.add.reduce(products * factors))
    return np.asarray(np.sqrt(np.maximum(np.diagonal(gram) - 2 * products + square, 0.0)))
