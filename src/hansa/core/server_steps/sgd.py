"""A step along the update."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hansa.core.server_steps.settings import positive

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sgd:
    """xₜ₊₁ = xₜ + η·Δₜ, η `server_lr` (Reddi et al. 2021, arXiv:2003.00295, algorithm 1 with SGD for the server).

    η = 1 is FedAvg, but for a rounding: the mean minus the base is added to the base again.
    """

    server_lr: float = 1.0

    def __post_init__(self) -> None:
        positive("server_lr", self.server_lr)

    def initial(self) -> Mapping[str, float]:
        """It remembers nothing."""
        return {}

    def step(self, update: Vector, state: Mapping[str, Vector]) -> tuple[Vector, Mapping[str, Vector]]:
        """η·Δₜ.

        >>> Sgd(server_lr=0.5).step(np.array([2.0]), {})[0]
        array([1.])
        """
        del state
        return self.server_lr * update, {}
