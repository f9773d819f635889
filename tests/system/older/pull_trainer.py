"""The program of a client of ours: adds one to all that is a float."""

import numpy as np

from hansa.client import Config, TrainResult

EXAMPLES = 7


def moved(params: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array + array.dtype.type(array.dtype.kind == "f") for name, array in params.items()}


class Trainer:
    def train(self, params: dict[str, np.ndarray], config: Config) -> TrainResult:
        return TrainResult(moved(params), num_examples=EXAMPLES)

    def evaluate(self, params: dict[str, np.ndarray], config: Config) -> dict[str, float]:
        return {"num_examples": EXAMPLES, "mean": float(params["head.bias"].mean())}


trainer = Trainer()
