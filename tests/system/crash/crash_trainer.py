"""The clients' program: updates that show the order they were added in, and a gate at which a client can be killed.

Every update is random float32 with exponents from -20 to 20, drawn from the task's seed, so that any other order of
summation gives other bits; so are moments. In round HOLD_ROUND the clients named in HOLD_CLIENTS wait, after saying so
by a file, until the test opens the gate; so does HOLD_MOMENTS, at a gate of its own, in the first SWAG phase.
"""

import os
import threading
from pathlib import Path

import numpy as np

from hansa.client import Config, MomentsResult, TrainResult

ROOM = Path(os.environ["CRASH_ROOM"])
HOLD_ROUND = 2
HOLD_CLIENTS = (1, 3)
HOLD_MOMENTS = 4


class Trainer:
    def train(self, params: dict[str, np.ndarray], config: Config) -> TrainResult:
        with (ROOM / f"trained-{config.round}-{config.ordinal}").open("a") as log:
            log.write("x")
        if config.round == HOLD_ROUND and config.ordinal in HOLD_CLIENTS:
            wait_at("gate", config)
        rng = np.random.default_rng(config.seed)
        return TrainResult(
            {name: update(array, rng) for name, array in params.items()},
            num_examples=100 + 37 * config.ordinal**2,
            metrics={"loss": 1.0 / config.round},
        )

    def moments(self, params: dict[str, np.ndarray], config: Config) -> MomentsResult:
        if config.version == 1 and config.ordinal == HOLD_MOMENTS:
            wait_at("moments-gate", config)
        rng = np.random.default_rng(config.seed)
        floats = {name: array for name, array in params.items() if array.dtype.kind == "f"}
        first = {name: array + update(array.astype(np.float64), rng) for name, array in floats.items()}
        spread = {name: np.square(update(array.astype(np.float64), rng)) for name, array in floats.items()}
        second = {name: np.square(mean) + spread[name] for name, mean in first.items()}
        return MomentsResult(first, second, num_examples=100 + 37 * config.ordinal**2)

    def evaluate(self, params: dict[str, np.ndarray], config: Config) -> dict[str, float]:
        return {"checksum": float(sum(np.abs(array).sum() for array in params.values())), "num_examples": 10}


def wait_at(gate: str, config: Config) -> None:
    (ROOM / f"held-{config.ordinal}").touch()
    while not (ROOM / gate).exists():
        threading.Event().wait(0.02)


def update(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if array.dtype.kind in "iu":
        return array + rng.integers(1, 9, array.shape).astype(array.dtype)
    mantissa = rng.uniform(-1, 1, array.shape)
    return (mantissa * 2.0 ** rng.integers(-20, 21, array.shape)).astype(array.dtype)


trainer = Trainer()
