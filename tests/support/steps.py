"""The server steps that a plan may name, once each, and their recursions in Python's own numbers.

Whoever adds a step adds its section and its recursion here, and all that is asked of every step is asked of it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

SECTIONS: Final[Sequence[dict[str, Any]]] = (  # Any: JSON
    {"kind": "sgd", "server_lr": 0.5},
    {"kind": "momentum", "server_lr": 0.5, "momentum": 0.75},
    {"kind": "adagrad", "server_lr": 0.25, "beta_1": 0.5, "adaptivity": 0.01},
    {"kind": "adam", "server_lr": 0.25, "beta_1": 0.75, "beta_2": 0.9, "adaptivity": 0.01},
    {"kind": "yogi", "server_lr": 0.25, "beta_1": 0.75, "beta_2": 0.9, "adaptivity": 0.01},
)
REMEMBERING: Final = [section for section in SECTIONS if section["kind"] != "sgd"]


class SlowStep:
    """The recursion of one element, as the paper writes it, with what it remembers."""

    def __init__(self, section: Mapping[str, Any]) -> None:
        self._said = section
        self.m = 0.0
        self.v = 0.0 if section["kind"] in ("sgd", "momentum") else section["adaptivity"] ** 2

    def __call__(self, update: float) -> float:
        """How far the element moves."""
        said, square = self._said, update**2
        match said["kind"]:
            case "sgd":
                return float(said["server_lr"] * update)
            case "momentum":
                self.v = said["momentum"] * self.v + update
                return float(said["server_lr"] * self.v)
            case "adagrad":
                self.v = self.v + square
            case "adam":
                self.v = said["beta_2"] * self.v + (1 - said["beta_2"]) * square
            case "yogi":
                self.v = self.v - (1 - said["beta_2"]) * square * math.copysign(self.v != square, self.v - square)
        self.m = said["beta_1"] * self.m + (1 - said["beta_1"]) * update
        return float(said["server_lr"] * self.m / (math.sqrt(self.v) + said["adaptivity"]))
