"""The geometric median: the point with the least weighted sum of distances to the updates."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hansa.core.aggregators.shares import Needs, Shares

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GeometricMedian:
    """RFA (Pillutla et al. 2022, arXiv:1912.13445, the smoothed Weiszfeld algorithm): argmin over z of Σ αᵢ·‖z - wᵢ‖.

    αᵢ are the weights' shares, `smoothing` is the paper's nu, and `iterations` its R. Each iterate is a mean of the
    updates, so its distances follow from the Gram matrix and no iteration reads the updates again. Clients with less
    than half of all weight together move it by no more than a bounded multiple of how far the others are apart.

    Where it begins, far-away updates have carried the mean along; each iteration takes it a good part of the way back,
    so the default makes up for norms a hundred thousand times those of the others. Distances that follow from inner
    products are right to about 1e-8 of the largest norm.
    """

    least: ClassVar[int] = 1
    needs: ClassVar[Needs] = Needs.PRODUCTS
    iterations: int = 10
    smoothing: float = 1e-6

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ValueError(f"iterations is {self.iterations}; at least one is made")
        if not self.smoothing > 0:
            raise ValueError(
                f"smoothing is {self.smoothing}; it is greater than 0, or a distance of 0 would be divided by"
            )

    def shares(self, measured: NDArray[np.float64], weights: Vector) -> Shares:
        """βᵢ = αᵢ / max(nu, ‖z - wᵢ‖) of Σ βⱼ, from the weighted mean on. Without those whose norm no float64 holds.

        >>> points = np.array([[0.0], [1.0], [100.0]])
        >>> factors = GeometricMedian(iterations=100).shares(points @ points.T, np.ones(3)).factors()
        >>> round(float(factors @ points[:, 0]), 3)
        1.0
        """
        held = np.isfinite(np.diagonal(measured))
        gram = np.where(held[:, None] & held[None, :], measured, 0.0)
        shares = np.where(held, weights, 0.0)
        factors = shares = shares / shares.sum()
        for _ in range(self.iterations):
            closeness = shares / np.maximum(self.smoothing, _distances(gram, factors))
            factors = closeness / closeness.sum()
        return Shares(np.asarray(factors))


def _distances(gram: NDArray[np.float64], factors: Vector) -> Vector:
    """‖Σ aⱼ·uⱼ - uᵢ‖ of each, in the order of the rows: no BLAS, whose sums depend on its threads."""
    products = np.add.reduce(gram * factors, axis=1)
    square = float(np.add.reduce(products * factors))
    return np.asarray(np.sqrt(np.maximum(np.diagonal(gram) - 2 * products + square, 0.0)))
