"""Rows of class probabilities: made from logits, or checked where a model gives them itself.

Which of the two a model gives is declared by whoever knows it. It is never guessed from the numbers: small logits lie
within [0, 1] as well. Log-probabilities (the outputs of a log-softmax) are logits, of which the softmax is the
probabilities themselves.
"""

from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

TOLERANCE = 2e-2
"""By how much a row of declared probabilities may miss the sum of 1: a thousand classes in float16 miss it by 1 %."""


class Outputs(StrEnum):
    """What the outputs of a model are, as its owner declares it."""

    PROBABILITIES = "probabilities"
    LOGITS = "logits"
    VALUES = "values"


def floats(name: str, values: ArrayLike, ndim: int) -> Floats:
    """The values in float64. Raises ValueError for another number of axes, and for values that are not finite."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name} have dtype {array.dtype}; real numbers are wanted")
    if array.ndim != ndim:
        raise ValueError(f"{name} have shape {array.shape}; {ndim} axes are wanted")
    converted = array.astype(np.float64)
    if not np.isfinite(converted).all():
        raise ValueError(f"{name} hold NaN or infinity, of which nothing can be computed; the model has gone wrong")
    return converted


def softmax(logits: Floats, axis: int = -1) -> Floats:
    """exp(z_c) / Σ_k exp(z_k) along an axis, for finite logits of any size.

    >>> softmax(np.array([[0.0, 0.0], [1000.0, 0.0]]))
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    with np.errstate(under="ignore", over="ignore"):  # what is nothing beside the largest is exactly 0
        powers = np.exp(logits - logits.max(axis=axis, keepdims=True))
        return np.asarray(powers / powers.sum(axis=axis, keepdims=True), np.float64)


def normalised(probabilities: Floats, axis: int = -1) -> Floats:
    """Declared probabilities, scaled to a sum of exactly 1 up to rounding.

    Raises ValueError for an entry outside [0, 1], and for a row whose sum is not 1 within TOLERANCE.

    >>> normalised(np.array([[0.505, 0.505]]))
    array([[0.5, 0.5]])
    """
    sums = probabilities.sum(axis=axis, keepdims=True)
    if ((probabilities < 0) | (probabilities > 1)).any():
        seen = probabilities.min() if (probabilities < 0).any() else probabilities.max()
        raise ValueError(f"a declared probability is {seen:g}; it is within [0, 1]. Are the outputs logits?")
    if (np.abs(sums - 1) > TOLERANCE).any():
        worst = sums.flat[int(np.abs(sums - 1).argmax())]
        raise ValueError(
            f"declared probabilities of one input add up to {worst:g}, not to 1. Declare logits, or give one for each"
            " class: with two, 1 - p and p"
        )
    return np.asarray(probabilities / sums, np.float64)


def class_probabilities(outputs: ArrayLike, kind: Outputs) -> Floats:
    """What a model gave for n inputs, (n, C) of any real dtype -> probabilities, (n, C) float64.

    Raises ValueError for outputs that are not what they are declared to be.
    """
    return as_probabilities(floats("outputs", outputs, 2), kind)


def as_probabilities(outputs: Floats, kind: Outputs, axis: int = -1) -> Floats:
    """Outputs with their classes along an axis -> probabilities of the same shape; raises as `normalised` does."""
    if outputs.shape[axis] < 2:
        raise ValueError(f"outputs have shape {outputs.shape}: {outputs.shape[axis]} classes; 2 or more are wanted")
    if kind is Outputs.PROBABILITIES:
        return normalised(outputs, axis)
    if kind is Outputs.LOGITS:
        return softmax(outputs, axis)
    raise ValueError(f"the outputs are declared to be {kind.value}; only probabilities and logits tell of classes")


def class_labels(labels: ArrayLike, shape: tuple[int, int]) -> Labels:
    """The right class of each of n inputs, for outputs of the shape (n, C): (n,) int64.

    Raises ValueError for another number of labels, and for one that is no class: not a whole number from 0 to C - 1.
    """
    array = np.asarray(labels)
    examples, classes = shape
    if array.shape != (examples,):
        raise ValueError(f"labels have shape {array.shape}; the outputs are of {examples} inputs")
    if array.size and array.dtype.kind not in "iu":
        raise ValueError(f"labels have dtype {array.dtype}; the numbers of the right classes are wanted")
    if array.size and (array.min() < 0 or array.max() >= classes):
        seen = array.min() if array.min() < 0 else array.max()
        raise ValueError(f"a label is {seen}; the {classes} classes are 0 to {classes - 1}")
    return array.astype(np.int64)
