"""A step along the updates of this round and, less and less, of those before."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hansa.core.server_steps.settings import decay, positive

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Momentum:
    """FedAvgM (Hsu et al. 2019, arXiv:1909.06335): vₜ = β·vₜ₋₁ + Δₜ, xₜ₊₁ = xₜ + η·vₜ; β `momentum`."""

    server_lr: float = 1.0
    momentum: float = 0.9

    def __post_init__(self) -> None:
        positive("server_lr", self.server_lr)
        decay("momentum", self.momentum)

    def initial(self) -> Mapping[str, float]:
        """v₀ = 0."""
        return {"v": 0.0}

    def step(self, update: Vector, state: Mapping[str, Vector]) -> tuple[Vector, Mapping[str, Vector]]:
        """η·vₜ, and vₜ.

        >>> Momentum(momentum=0.5).step(np.array([1.0]), {"v": np.array([4.0])})
        (array([3.]), {'v': array([3.])})
        """
        v = self.momentum * state["v"] + update
        return self.server_lr * v, {"v": v}
