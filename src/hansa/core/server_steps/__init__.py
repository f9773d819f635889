"""Server steps: what becomes of the aggregated update. A step a module, and a line in `STEPS`.

Δₜ is the aggregated update of round t (a client's params minus those it began from: the negative of the
pseudo-gradient), xₜ the version that the round began from. A step gives xₜ₊₁ - xₜ, element by element in float64, and
its `state`: named arrays of the model's shape that it will want back in the next round. They are stored with the
version that they led to, so a training goes on exactly where it was.

Steps act on params; buffers take the mean.
"""

from collections.abc import Mapping
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from hansa.core.server_steps.adaptive import Adagrad, Adam, Yogi
from hansa.core.server_steps.momentum import Momentum
from hansa.core.server_steps.sgd import Sgd

Vector = NDArray[np.float64]
State = Mapping[str, Vector]


class ServerStep(Protocol):
    """One server optimizer with its settings."""

    def initial(self) -> Mapping[str, float]:
        """The names of its state, with the value that fills each before the first round."""

    def step(self, update: Vector, state: State) -> tuple[Vector, State]:
        """xₜ₊₁ - xₜ and the state after it, of one stretch of elements: Δₜ and the state before it; neither changed."""


STEPS: Final[Mapping[str, type[ServerStep]]] = {
    "sgd": Sgd,
    "momentum": Momentum,
    "adagrad": Adagrad,
    "adam": Adam,
    "yogi": Yogi,
}
