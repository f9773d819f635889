"""The trainer of clients that may be killed: what it returns depends on its task's seed and place, and nothing else.

Every update is random float32 with exponents from -20 to 20, so that any other order of summation gives other bits.
"""

import numpy as np

from hansa.client import CalibrateResult, Config, EvaluateResult, MomentsResult, TrainResult
from hansa.client.calibration import Confidence


class Trainer:
    def train(self, params: dict[str, np.ndarray], config: Config) -> TrainResult:
        rng = np.random.default_rng(config.seed)
        return TrainResult(
            {name: update(array, rng) for name, array in params.items()},
            num_examples=100 + 37 * config.ordinal**2,
            metrics={"loss": 1.0 / config.round},
        )

    def evaluate(self, params: dict[str, np.ndarray], config: Config) -> dict[str, float]:
        return {"checksum": float(sum(np.abs(array).sum() for array in params.values())), "num_examples": 10}


class SwagTrainer(Trainer):
    def moments(self, params: dict[str, np.ndarray], config: Config) -> MomentsResult:
        rng = np.random.default_rng(config.seed)
        floats = {name: array for name, array in params.items() if array.dtype.kind == "f"}
        first = {name: array + update(array.astype(np.float64), rng) for name, array in floats.items()}
        spread = {name: np.square(update(array.astype(np.float64), rng)) for name, array in floats.items()}
        second = {name: np.square(mean) + spread[name] for name, mean in first.items()}
        return MomentsResult(first, second, num_examples=100 + 37 * config.ordinal**2)


class ScoringTrainer(Trainer):
    """It tells how far the version's confidence is borne out, as drawn."""

    def evaluate(self, params: dict[str, np.ndarray], config: Config) -> EvaluateResult:
        told = Confidence(config)
        told.add(*examples(config))
        return EvaluateResult({"magnitude": 1.0}, 20, calibration=told.report())

    def calibrate(self, params: dict[str, np.ndarray], config: Config) -> CalibrateResult:
        told = Confidence(config)
        told.add(*examples(config))
        return CalibrateResult(20, told.report())


def examples(config: Config) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(config.seed)
    return rng.normal(size=(20, 3)), rng.integers(0, 3, 20)


def update(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if array.dtype.kind in "iu":
        return array + rng.integers(1, 9, array.shape).astype(array.dtype)
    mantissa = rng.uniform(-1, 1, array.shape)
    return (mantissa * 2.0 ** rng.integers(-20, 21, array.shape)).astype(array.dtype)


trainer = Trainer()
