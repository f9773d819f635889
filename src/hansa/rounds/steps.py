"""The server step of a plan: its settings, and what it does not go together with.

But for the identity a section has the name of its step in `hansa.core.server_steps.STEPS`, and its fields. To add a
step is to add its line there and its section to `ServerStepSection`.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from hansa.core.server_steps import STEPS, ServerStep
from hansa.rounds.rules import described, kind_of
from hansa.rounds.section import Section, UnsoundPlanError

Rate = Annotated[float, Meta(gt=0, le=1e9)]
Adaptivity = Annotated[float, Meta(ge=1e-100, le=1e9)]
"""Its square is what the step begins with, and has to be a number."""
Decay = Annotated[float, Meta(ge=0, lt=1)]


class Identity(Section, frozen=True, tag="identity", tag_field="kind"):
    """What the aggregator gives is the new version: FedAvg's server."""


class Sgd(Section, frozen=True, tag="sgd", tag_field="kind"):
    """x + η·Δ, with x the version that the round began from and Δ the aggregate minus x (Reddi et al. 2021,
    arXiv:2003.00295, algorithm 1).
    """

    server_lr: Rate = 1.0
    """η"""


class Momentum(Section, frozen=True, tag="momentum", tag_field="kind"):
    """x + η·v, v ← β·v + Δ: FedAvgM (Hsu et al. 2019, arXiv:1909.06335)."""

    server_lr: Rate = 1.0
    """η"""
    momentum: Decay = 0.9
    """β"""


class Adagrad(Section, frozen=True, tag="adagrad", tag_field="kind"):
    """x + η·m / (√v + τ), m ← β₁·m + (1 - β₁)·Δ, v ← v + Δ²: FedAdagrad (Reddi et al. 2021, arXiv:2003.00295,
    algorithm 2).
    """

    server_lr: Rate
    """η: about how far each param moves in a round."""
    beta_1: Decay = 0.0
    """β₁"""
    adaptivity: Adaptivity = 1e-3
    """τ: updates that are much smaller move the version in proportion to their size, as a plain step does."""


class Adam(Section, frozen=True, tag="adam", tag_field="kind"):
    """As Adagrad, with v ← β₂·v + (1 - β₂)·Δ²: FedAdam (Reddi et al. 2021, arXiv:2003.00295, algorithm 2)."""

    server_lr: Rate
    """As for Adagrad."""
    beta_1: Decay = 0.9
    """β₁"""
    beta_2: Decay = 0.99
    """β₂"""
    adaptivity: Adaptivity = 1e-3
    """As for Adagrad."""


class Yogi(Section, frozen=True, tag="yogi", tag_field="kind"):
    """As Adagrad, with v ← v - (1 - β₂)·Δ²·sign(v - Δ²): FedYogi (Reddi et al. 2021, arXiv:2003.00295, algorithm 2)."""

    server_lr: Rate
    """As for Adagrad."""
    beta_1: Decay = 0.9
    """β₁"""
    beta_2: Decay = 0.99
    """β₂"""
    adaptivity: Adaptivity = 1e-3
    """As for Adagrad."""


ServerStepSection = Identity | Sgd | Momentum | Adagrad | Adam | Yogi


def step_of(section: ServerStepSection) -> ServerStep | None:
    """The step with these settings; None: the aggregate stands as it is.

    >>> step_of(Momentum(momentum=0.5))
    Momentum(server_lr=1.0, momentum=0.5)
    """
    return None if isinstance(section, Identity) else STEPS[kind_of(section)](**msgspec.structs.asdict(section))


def check_server_step(section: ServerStepSection, *, folds: bool) -> None:
    """Refuse a step on what is no update of this round: late updates that count."""
    if folds and not isinstance(section, Identity):
        raise UnsoundPlanError(
            f"plan: the server_step {described(section)} goes with late updates that count (late has kind 'fold'): "
            "they began from an older version, so the step would take back what the versions since have gained, and "
            "remember that. Give late the kind 'discard', or server_step the kind 'identity'."
        )
