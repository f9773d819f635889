"""A steady trainer with gates at which a client can be killed.

In round HOLD_ROUND the clients named in HOLD_CLIENTS wait, after saying so by a file, until the test opens the gate; so
does HOLD_MOMENTS, at a gate of its own, in the first SWAG phase.
"""

import os
import threading
from pathlib import Path

import numpy as np
from steady_trainer import SwagTrainer

from hansa.client import Config, MomentsResult, TrainResult

ROOM = Path(os.environ["CRASH_ROOM"])
HOLD_ROUND = 2
HOLD_CLIENTS = (1, 3)
HOLD_MOMENTS = 4


class Trainer(SwagTrainer):
    def train(self, params: dict[str, np.ndarray], config: Config) -> TrainResult:
        with (ROOM / f"trained-{config.round}-{config.ordinal}").open("a") as log:
            log.write("x")
        if config.round == HOLD_ROUND and config.ordinal in HOLD_CLIENTS:
            wait_at("gate", config)
        return super().train(params, config)

    def moments(self, params: dict[str, np.ndarray], config: Config) -> MomentsResult:
        if config.version == 1 and config.ordinal == HOLD_MOMENTS:
            wait_at("moments-gate", config)
        return super().moments(params, config)


def wait_at(gate: str, config: Config) -> None:
    (ROOM / f"held-{config.ordinal}").touch()
    while not (ROOM / gate).exists():
        threading.Event().wait(0.02)


trainer = Trainer()
