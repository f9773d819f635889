"""The weighted mean of a cohort: FedAvg's sum (McMahan et al. 2017, arXiv:1602.05629, algorithm 1).

Floating-point addition is not associative, so the order of the values is part of the result: the caller gives them in
the canonical order of the accepted list, and the same list gives the same bits. Every element is treated by itself,
so it does not matter how a model was cut into chunks, nor which thread took which.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from hansa.core.params import Array

BLOCK = 131_072
"""Elements weighted at a time: their float64 copies (1 MiB) stay in the processor's cache. Measured, not critical."""


class Scratch:
    """Working memory that is kept between calls: 8 bytes per element of the largest chunk. One per thread."""

    def __init__(self) -> None:
        self._sum = np.empty(0)
        self.products = np.empty(BLOCK)

    def sum(self, size: int) -> NDArray[np.float64]:
        """`size` float64 elements of any content."""
        if self._sum.size < size:
            self._sum = np.empty(size)
        return self._sum[:size]


def weighted_mean(
    values: Iterable[Array], weights: Sequence[float], out: Array, *, scratch: Scratch | None = None
) -> None:
    """out[...] = Σ nᵢ·xᵢ / Σ nᵢ, summed in float64 in the order given and rounded once to the dtype of `out`.

    `values` are arrays of the shape of `out`, asked for one at a time: the caller may yield one buffer again and again,
    filled anew. Integer dtypes are truncated toward zero. NaN and infinities spread to their own element and no
    further; whoever wants none refuses them before (`hansa.core.finite`).

    Equal float32 or float16 values come back bit for bit, whatever the weights; equal integers do as long as
    Σ nᵢ·|x| stays below 2^53; equal float64 values may differ in the last bits where nᵢ·x has to be rounded.

    Raises ValueError for no values, values and weights of different number, another shape than that of `out`, or a
    weight that is not finite and positive.

    >>> mean = np.empty(2, np.float32)
    >>> weighted_mean([np.float32([1, 10]), np.float32([4, 40])], [1, 2], mean)
    >>> mean
    array([ 3., 30.], dtype=float32)
    """
    total = _total(weights)
    scratch = scratch or Scratch()
    acc = scratch.sum(out.size)
    count = 0
    with np.errstate(over="ignore", invalid="ignore"):
        for count, value in enumerate(values, start=1):
            if count > len(weights):
                raise ValueError(f"there are more values than the {len(weights)} weights; give one weight per value")
            if value.shape != out.shape:
                raise ValueError(f"value {count - 1} has shape {value.shape}; the mean has {out.shape}")
            _add_product(acc, value.reshape(-1), float(weights[count - 1]), scratch.products, first=count == 1)
        if count < len(weights):
            raise ValueError(f"there are {count} values and {len(weights)} weights; give one weight per value")
        np.divide(acc, total, out=acc)
        if out.dtype.kind in "iu":
            _clip(acc, out.dtype)
        out[...] = acc.reshape(out.shape)


def _total(weights: Sequence[float]) -> float:
    if not weights:
        raise ValueError("there are no values; the mean of nothing is not defined")
    total = 0.0
    for index, weight in enumerate(weights):
        if not (math.isfinite(weight) and weight > 0):
            raise ValueError(f"weight {index} is {weight}; weights are finite and greater than 0")
        total += float(weight)
    if not math.isfinite(total):
        raise ValueError("the weights add up to more than a float64 holds; give smaller ones")
    return total


def _add_product(
    acc: NDArray[np.float64], value: Array, weight: float, products: NDArray[np.float64], *, first: bool
) -> None:
    """Adds weight·value. The first product is stored, not added to zero, which would lose the sign of -0.0."""
    for start in range(0, acc.size, BLOCK):
        target = acc[start : start + BLOCK]
        product = target if first else products[: target.size]
        product[...] = value[start : start + BLOCK]
        np.multiply(product, weight, out=product)
        if not first:
            np.add(target, product, out=target)


def _clip(acc: NDArray[np.float64], dtype: np.dtype[np.generic]) -> None:
    """Keep within an integer dtype what float64 rounded past its end: 2^63 - 1 is no float64, 2^63 is no int64."""
    bounds = np.iinfo(dtype.name)
    highest = float(bounds.max)
    np.clip(acc, float(bounds.min), highest if int(highest) <= bounds.max else np.nextafter(highest, 0.0), out=acc)
