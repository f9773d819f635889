"""The weighted mean of updates none of which is longer than a bound."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hansa.core.aggregators.shares import Needs, Shares, clipping

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NormBoundedMean:
    """Σ nᵢ·uᵢ·min(1, M/‖uᵢ‖) / Σ nᵢ: norm thresholding (Sun et al. 2019, arXiv:1911.07963), with M `bound`.

    One client moves the mean by M·nᵢ/Σ nⱼ at most, whatever it sends.
    """

    least: ClassVar[int] = 1
    needs: ClassVar[Needs] = Needs.NORMS
    bound: float

    def __post_init__(self) -> None:
        if not self.bound > 0:
            raise ValueError(f"bound is {self.bound}; the norm that no update exceeds is greater than 0")

    def shares(self, measured: NDArray[np.float64], weights: Vector) -> Shares:
        """nᵢ·min(1, M/‖uᵢ‖) of Σ nⱼ; measured is ‖uᵢ‖² of each.

        >>> NormBoundedMean(bound=1.0).shares(np.array([0.25, 16.0]), np.array([1.0, 1.0])).factors()
        array([0.5  , 0.125])
        """
        return Shares(weights).scaled(clipping(np.sqrt(measured), self.bound))
