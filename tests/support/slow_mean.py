"""The mean of a round as anybody would write it: Python floats, one element after the other, in the order given.

Integers are added as fractions, and cut off at the end.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from hansa.core.params import Array, Params


def slow_mean(updates: Sequence[Params], weights: Sequence[float]) -> dict[str, Array]:
    """Σ nᵢ·xᵢ / Σ nᵢ, element by element."""
    total = 0.0
    for weight in weights:
        total += float(weight)
    return {name: _slow_array([update[name] for update in updates], weights, total) for name in updates[0]}


def _slow_array(arrays: Sequence[Array], weights: Sequence[float], total: float) -> Array:
    out = np.empty_like(arrays[0]).reshape(-1)
    columns = [array.reshape(-1).tolist() for array in arrays]
    for index in range(out.size):
        row = [column[index] for column in columns]
        if out.dtype.kind in "iu":
            out[index] = slow_integer(row, weights)
            continue
        acc = float(row[0]) * float(weights[0])
        for element, weight in zip(row[1:], weights[1:], strict=True):
            acc += float(element) * float(weight)
        out[index] = out.dtype.type(acc / total)
    return out.reshape(arrays[0].shape)


def slow_integer(numbers: Sequence[int], weights: Sequence[float]) -> int:
    """Σ nᵢ·xᵢ / Σ nᵢ of whole numbers, cut off toward zero; nothing is rounded on the way."""
    shares = [Fraction(weight) for weight in weights]
    return int(sum(share * number for share, number in zip(shares, numbers, strict=True)) / sum(shares))


def bits(params: Params) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """What makes two sets of arrays the same, and numbers that are equal not yet."""
    return {name: (array.dtype.name, array.shape, array.tobytes()) for name, array in params.items()}
