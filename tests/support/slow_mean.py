"""The mean of a round as anybody would write it: Python floats, one element after the other, in the order given."""

from collections.abc import Sequence

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
        acc = float(columns[0][index]) * float(weights[0])
        for column, weight in zip(columns[1:], weights[1:], strict=True):
            acc += float(column[index]) * float(weight)
        mean = acc / total
        out[index] = int(mean) if out.dtype.kind == "i" else out.dtype.type(mean)
    return out.reshape(arrays[0].shape)


def bits(params: Params) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """What makes two sets of arrays the same, and numbers that are equal not yet."""
    return {name: (array.dtype.name, array.shape, array.tobytes()) for name, array in params.items()}
