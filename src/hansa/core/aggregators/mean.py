"""The weighted mean, and the sum, as shares of the updates."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hansa.core.aggregators.shares import Needs, Shares

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Mean:
    """Σ nᵢ·uᵢ / Σ nᵢ (McMahan et al. 2017, arXiv:1602.05629, algorithm 1)."""

    least: ClassVar[int] = 1
    needs: ClassVar[Needs] = Needs.NOTHING

    def shares(self, measured: NDArray[np.float64], weights: Vector) -> Shares:
        """nᵢ of Σ nⱼ.

        >>> Mean().shares(np.zeros(2), np.array([1.0, 3.0])).factors()
        array([0.25, 0.75])
        """
        del measured
        return Shares(weights)


@dataclass(frozen=True, slots=True)
class Sum:
    """Σ uᵢ, whatever the weights: for updates that are parts of a whole, such as gradients of disjoint terms."""

    least: ClassVar[int] = 1
    needs: ClassVar[Needs] = Needs.NOTHING

    def shares(self, measured: NDArray[np.float64], weights: Vector) -> Shares:
        """1 for each."""
        del measured
        return Shares(np.ones_like(weights), total=1.0)
