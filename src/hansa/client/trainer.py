"""What a user writes: something that trains and evaluates on arrays by name.

    class Mine:
        def train(self, params, config):
            ...
            return TrainResult(params, num_examples=len(self.x), metrics={"loss": loss})

        def evaluate(self, params, config):
            return {"num_examples": len(self.x_test), "loss": loss}

`params` are the trainer's own copies: it may change them in place and return them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self

import msgspec

from hansa.client.errors import BadAnswer
from hansa.core.params import Array, Params
from hansa.protocol.calibration import CalibrationReport, CalibrationWish
from hansa.protocol.tasks import Task
from hansa.rounds.plan import ClientConfig

Scalar = float | int | str | bool | None


def _never() -> bool:
    return False


def _ignore(share: float) -> None:
    del share


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What is asked of the trainer in one task. Everything but the first six comes from the training's plan."""

    training: str = ""
    round: int = 1
    """Counted from 1."""
    rounds: int = 1
    version: int = 0
    """Of the model whose params are given."""
    ordinal: int = 0
    """The client's place in the training; different for each of its clients."""
    seed: int = 0
    """From (training seed, round, ordinal), 63 bits: a trainer that seeds its generators with it can be repeated."""
    epochs: int = 1
    client_lr: float | None = None
    """None: the trainer's own choice."""
    momentum: float | None = None
    """None: the trainer's own choice."""
    proximal_mu: float = 0.0
    """FedProx's μ: minimise loss + μ/2·‖w - w_base‖² (Li et al. 2020, arXiv:1812.06127, eq. 2)."""
    extra: Mapping[str, Scalar] = field(default_factory=dict)
    """The plan's `client.extra`, unread."""
    cancelled: Callable[[], bool] = _never
    """True once the result is no longer wanted, or the client stops: a long training may look at it between batches
    and return early. What it returns then is thrown away."""
    calibration: CalibrationWish | None = None
    """What an evaluation, or a calibration, is to tell of how far the version's confidence is borne out."""
    progress: Callable[[float], None] = _ignore
    """Tell the share of the work that is done, 0 to 1, if you know it; the next heartbeat takes it along."""

    @classmethod
    def of(
        cls, task: Task, *, cancelled: Callable[[], bool] = _never, progress: Callable[[float], None] = _ignore
    ) -> Self:
        """Read a task. BadAnswer if the plan's values have wrong types."""
        known = {name: value for name, value in task.config.items() if name in _PLANNED}
        try:
            asked = msgspec.convert(known, ClientConfig)
        except msgspec.ValidationError as error:
            raise BadAnswer(
                f"the task's config is {task.config}, which this client does not understand: {error}"
            ) from error
        return cls(
            training=task.training,
            round=task.round,
            rounds=task.rounds,
            version=task.version,
            ordinal=task.ordinal,
            seed=task.seed,
            epochs=asked.epochs,
            client_lr=asked.client_lr,
            momentum=asked.momentum,
            proximal_mu=asked.proximal_mu,
            extra={name: value for name, value in task.config.items() if name not in _PLANNED},
            calibration=task.calibration,
            cancelled=cancelled,
            progress=progress,
        )


_PLANNED = frozenset({"epochs", "client_lr", "momentum", "proximal_mu"})


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What came of local training: all arrays of the model (params and buffers), in the shapes and dtypes given."""

    params: Params
    num_examples: int
    """Used in local training; the client's weight where the plan weights by examples."""
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EvaluateResult:
    """What came of an evaluation on local data."""

    metrics: Mapping[str, float]
    num_examples: int
    calibration: CalibrationReport | None = None
    """What `config.calibration` asks for: `hansa.client.calibration` makes it of logits and labels."""


@dataclass(frozen=True, slots=True)
class CalibrateResult:
    """How badly the version's predictions agree with local examples that it was not trained on."""

    num_examples: int
    calibration: CalibrationReport | None
    """Made by `hansa.client.calibration`."""
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MomentsResult:
    """SWAG's moments of the weights around a version, by name: all params, buffers as one likes.

    `hansa.core.moments.RunningMoments` gathers them from the iterates of gradient descent.
    """

    first: Params
    """The mean of the iterates."""
    second: Params
    """The mean of their squares."""
    num_examples: int
    """Used for them; the client's weight where the plan weights by examples."""


class Trainer(Protocol):
    """Local training and evaluation. `hansa.client.adapters` has ready ones.

    `evaluate` may return an EvaluateResult or, shorter, the metrics with the number of examples among them under
    "num_examples". An exception in either gives the task back with its type and text; the traceback stays here.
    """

    def train(self, params: dict[str, Array], config: Config) -> TrainResult:
        """Train from `params` on local data."""
        ...

    def evaluate(self, params: dict[str, Array], config: Config) -> EvaluateResult | Mapping[str, float]:
        """Measure `params` on local data."""
        ...


class MomentsTrainer(Trainer, Protocol):
    """A trainer for plans with the uncertainty method `swag`.

    Where a trainer has no `moments` its client gives such tasks back, and the others' moments do without it.
    """

    def moments(self, params: dict[str, Array], config: Config) -> MomentsResult:
        """Go on from `params` on local data, and tell the moments of the weights on the way."""
        ...


class CalibratingTrainer(Trainer, Protocol):
    """A trainer for plans with `uncertainty.calibration.scores`.

    Where a trainer has no `calibrate` its client gives such tasks back, and the version is calibrated by the others.
    """

    def calibrate(self, params: dict[str, Array], config: Config) -> CalibrateResult:
        """Tell the scores that `config.calibration` asks for, of examples that nobody trains on."""
        ...
