"""The model that the demo's clients train: one hidden layer with dropout, by gradient descent, in numpy.

Its arrays are named as in `files/shapes.pt`, the same network as a program: Flatten, Linear, ReLU, Dropout, Linear.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from hansa.core.params import Array, Params
from hansa.uncertainty.probabilities import softmax

Floats = npt.NDArray[np.float64]
Weights = Mapping[str, Floats]

HIDDEN = 48
DROPOUT = 0.25
BATCH = 32
FIRST, FIRST_BIAS, LAST, LAST_BIAS = "1.weight", "1.bias", "4.weight", "4.bias"


def logits(params: Mapping[str, Array], images: Array) -> Floats:
    """(n, classes), without dropout."""
    now = _exact(params)
    hidden = np.maximum(_flat(images) @ now[FIRST].T + now[FIRST_BIAS], 0)
    return hidden @ now[LAST].T + now[LAST_BIAS]


def measured(params: Mapping[str, Array], images: Array, kinds: Array) -> dict[str, float]:
    """Accuracy, and the mean cross entropy in nats."""
    outputs = logits(params, images)
    right = outputs.argmax(axis=1) == kinds
    return {
        "accuracy": float(right.mean()),
        "loss": float(-np.log(softmax(outputs)[np.arange(len(kinds)), kinds] + 1e-9).mean()),
    }


def trained(params: Params, images: Array, kinds: Array, *, lr: float, rng: np.random.Generator) -> Params:
    """The params after one pass over the examples."""
    now = _exact(params)
    for batch in np.array_split(rng.permutation(len(kinds)), max(1, len(kinds) // BATCH)):
        for name, slope in _gradient(now, _flat(images[batch]), kinds[batch], rng).items():
            now[name] = now[name] - lr * slope
    return {name: array.astype(np.float32) for name, array in now.items()}


def _gradient(params: Weights, inputs: Floats, kinds: Array, rng: np.random.Generator) -> Weights:
    before = inputs @ params[FIRST].T + params[FIRST_BIAS]
    kept = (rng.random(before.shape) >= DROPOUT) / (1 - DROPOUT)
    hidden = np.maximum(before, 0) * kept
    error = softmax(hidden @ params[LAST].T + params[LAST_BIAS])
    error[np.arange(len(kinds)), kinds] -= 1
    error /= len(kinds)
    back = (error @ params[LAST]) * kept * (before > 0)
    return {FIRST: back.T @ inputs, FIRST_BIAS: back.sum(axis=0), LAST: error.T @ hidden, LAST_BIAS: error.sum(axis=0)}


def _exact(params: Mapping[str, Array]) -> dict[str, Floats]:
    return {name: array.astype(np.float64) for name, array in params.items()}


def _flat(images: Array) -> Floats:
    return images.reshape(len(images), -1).astype(np.float64)
