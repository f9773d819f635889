"""The clients' trainer: a pure function of what it is given, and one that shows the order in which it was added.

Updates are the base, halved, plus random values with exponents from -20 to 20: any other order of summation, and any
other base, gives other bits. Every product and sum is rounded as IEEE 754 says, element by element, so that the same
seed gives the same bits in every process.
"""

import time

import numpy as np

from hansa.client.trainer import Config, EvaluateResult, MomentsResult, TrainResult
from hansa.core.params import Array, Params

LONGEST_WORK_MS = 40
"""A client is to be at work now and then when it is killed."""


def trained(params: Params, *, seed: int) -> dict[str, Array]:
    """What the client that trains from `params` with `seed` reports."""
    rng = np.random.default_rng(seed)
    return {name: _moved(params[name], rng) for name in sorted(params)}


def gathered(params: Params, *, seed: int) -> tuple[dict[str, Array], dict[str, Array]]:
    """Its moments around `params`: of the float arrays, in float64."""
    rng = np.random.default_rng(seed)
    floats = {name: params[name].astype(np.float64) for name in sorted(params) if params[name].dtype.kind == "f"}
    first = {name: _moved(array, rng) for name, array in floats.items()}
    second = {name: np.square(mean) + np.square(_noise(mean.shape, rng)) for name, mean in first.items()}
    return first, second


def num_examples(ordinal: int) -> int:
    """How many examples a client has: unequal weights."""
    return 100 + 37 * ordinal**2


def first_version(seed: int, *, rows: int) -> dict[str, Array]:
    """The params that a training begins with: two float types, and a buffer that counts."""
    rng = np.random.default_rng(seed)
    return {
        "dense.weight": rng.normal(size=(rows, 50)).astype(np.float32),
        "dense.bias": rng.normal(size=rows),
        "seen": np.zeros((), np.int64),
    }


BUFFERS = frozenset({"seen"})
"""The arrays of `first_version` that are not learned."""


class Repeatable:
    """The trainer that a client's process runs."""

    def train(self, params: dict[str, Array], config: Config) -> TrainResult:
        """An update, after a moment of work."""
        _work(config)
        loss = 1.0 / config.round
        return TrainResult(trained(params, seed=config.seed), num_examples(config.ordinal), {"loss": loss})

    def moments(self, params: dict[str, Array], config: Config) -> MomentsResult:
        """Moments, after a moment of work."""
        _work(config)
        return MomentsResult(*gathered(params, seed=config.seed), num_examples(config.ordinal))

    def evaluate(self, params: dict[str, Array], config: Config) -> EvaluateResult:
        """A number that tells of the params."""
        total = float(sum(np.abs(array).sum() for array in params.values()))
        return EvaluateResult({"magnitude": total}, num_examples(config.ordinal))


def _moved(array: Array, rng: np.random.Generator) -> Array:
    if array.dtype.kind in "iu":
        step: Array = array + rng.integers(1, 9, array.shape).astype(array.dtype)
        return np.asarray(step)
    return np.asarray(np.multiply(array, 0.5, dtype=array.dtype) + _noise(array.shape, rng).astype(array.dtype))


def _noise(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    return np.ldexp(rng.uniform(-1, 1, shape), rng.integers(-20, 21, shape))


def _work(config: Config) -> None:
    time.sleep(config.seed % LONGEST_WORK_MS / 1000)
