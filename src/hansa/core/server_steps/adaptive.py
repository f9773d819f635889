"""FedOpt: steps that are smaller where updates were large (Reddi et al. 2021, arXiv:2003.00295, algorithm 2).

    mₜ = β₁·mₜ₋₁ + (1 - β₁)·Δₜ
    vₜ = vₜ₋₁ + Δₜ²                                      FedAdagrad
    vₜ = β₂·vₜ₋₁ + (1 - β₂)·Δₜ²                           FedAdam
    vₜ = vₜ₋₁ - (1 - β₂)·Δₜ²·sign(vₜ₋₁ - Δₜ²)             FedYogi
    xₜ₊₁ = xₜ + η·mₜ / (√vₜ + τ)

τ, the `adaptivity`, says how far from a plain step it may get. The paper asks for v₋₁ ≥ τ²; here it is τ², and
m₋₁ is 0. There is no bias correction, as in the paper.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hansa.core.server_steps.settings import decay, positive

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Adaptive:
    server_lr: float
    beta_1: float = 0.9
    adaptivity: float = 1e-3

    def __post_init__(self) -> None:
        positive("server_lr", self.server_lr)
        decay("beta_1", self.beta_1)
        positive("adaptivity", self.adaptivity)

    def initial(self) -> Mapping[str, float]:
        """m₋₁ = 0, v₋₁ = τ²."""
        return {"m": 0.0, "v": self.adaptivity**2}

    def step(self, update: Vector, state: Mapping[str, Vector]) -> tuple[Vector, Mapping[str, Vector]]:
        """η·mₜ / (√vₜ + τ), and mₜ and vₜ."""
        m = self.beta_1 * state["m"] + (1 - self.beta_1) * update
        v = self._second_moment(state["v"], update * update)
        return self.server_lr * m / (np.sqrt(v) + self.adaptivity), {"m": m, "v": v}

    def _second_moment(self, before: Vector, square: Vector) -> Vector:
        """vₜ, of vₜ₋₁ and Δₜ²."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Adagrad(_Adaptive):
    """FedAdagrad: steps shrink for ever. The paper runs it with β₁ = 0.

    >>> Adagrad(server_lr=1.0, adaptivity=1.0).step(np.array([0.0]), Adagrad(server_lr=1.0).initial())[0]
    array([0.])
    """

    beta_1: float = 0.0

    def _second_moment(self, before: Vector, square: Vector) -> Vector:
        return before + square


@dataclass(frozen=True, slots=True)
class _Decaying(_Adaptive):
    beta_2: float = 0.99

    def __post_init__(self) -> None:
        super(_Decaying, self).__post_init__()  # a class with slots is made twice: the short form names the first
        decay("beta_2", self.beta_2)


@dataclass(frozen=True, slots=True)
class Adam(_Decaying):
    """FedAdam: the second moment is a moving mean."""

    def _second_moment(self, before: Vector, square: Vector) -> Vector:
        return self.beta_2 * before + (1 - self.beta_2) * square


@dataclass(frozen=True, slots=True)
class Yogi(_Decaying):
    """FedYogi: the second moment moves by no more than (1 - β₂)·Δ² a round, also when it falls."""

    def _second_moment(self, before: Vector, square: Vector) -> Vector:
        return before - (1 - self.beta_2) * square * np.sign(before - square)
