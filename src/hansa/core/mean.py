"""The weighted mean of a cohort: FedAvg's sum (McMahan et al. 2017, arXiv:1602.05629, algorithm 1).

Floating-point addition is not associative, so the order of the values is part of the result: the caller gives them in
the canonical order of the accepted list, and the same list gives the same bits. Every element is treated by itself,
so it does not matter how a model was cut into chunks, nor which thread took which.

Integers are truncated, and a sum that is off by its last bit would make another number of them: three clients that all
count 5 must not have 4 for their mean. Weights that are whole numbers add up without an error; as soon as one has a
fraction (a late update counts n·(1+τ)^-a) integers are added exactly, as whole numbers of any length.
"""

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hansa.core.params import Array

BLOCK = 131_072
"""Elements weighted at a time: their float64 copies (1 MiB) stay in the processor's cache. Measured, not critical."""

EXACT_BLOCK = 8192
"""Integers added exactly at a time: the interpreter's lock is held for milliseconds, and others have their turn."""


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

    `values` are arrays of the shape and dtype of `out`, asked for one at a time: the caller may yield one buffer again
    and again, filled anew. Integer dtypes are truncated toward zero; where they are `added_exactly` nothing is rounded
    before. NaN and infinities spread to their own element and no further; whoever wants none refuses them before
    (`hansa.core.finite`).

    Equal float32 or float16 values come back bit for bit, whatever the weights; equal integers do with any weight that
    has a fraction, and with whole weights as long as Σ nᵢ·|x| stays below 2^53; equal float64 values may differ in the
    last bits where nᵢ·x has to be rounded.

    Raises ValueError for no values, values and weights of different number, another shape than that of `out`, or a
    weight that is not finite and positive.

    >>> mean = np.empty(2, np.float32)
    >>> weighted_mean([np.float32([1, 10]), np.float32([4, 40])], [1, 2], mean)
    >>> mean
    array([ 3., 30.], dtype=float32)
    """
    total = total_of(weights)
    weighted = _weighted(values, weights, out.shape)
    if added_exactly(out.dtype, weights):
        out[...] = _exact_mean(weighted, weights, out.dtype, out.size).reshape(out.shape)
        return
    acc = (scratch := scratch or Scratch()).sum(out.size)
    with np.errstate(over="ignore", invalid="ignore"):
        for index, (value, weight) in enumerate(weighted):
            add_product(acc, value, float(weight), scratch.products, first=index == 0)
        np.divide(acc, total, out=acc)
        if out.dtype.kind in "iu":
            _clip(acc, out.dtype)
        out[...] = acc.reshape(out.shape)


def added_exactly(dtype: np.dtype[np.generic], weights: Sequence[float]) -> bool:
    """Whether a mean is computed with whole numbers of any length: of integers, where a weight has a fraction.

    That takes some 100 bytes an element, and half a microsecond for each value of it.
    """
    return dtype.kind in "iu" and not all(float(weight).is_integer() for weight in weights)


def _weighted(
    values: Iterable[Array], weights: Sequence[float], shape: tuple[int, ...]
) -> Iterator[tuple[Array, float]]:
    count = 0
    for count, value in enumerate(values, start=1):
        if count > len(weights):
            raise ValueError(f"there are more values than the {len(weights)} weights; give one weight per value")
        if value.shape != shape:
            raise ValueError(f"value {count - 1} has shape {value.shape}; the mean has {shape}")
        yield value.reshape(-1), weights[count - 1]
    if count < len(weights):
        raise ValueError(f"there are {count} values and {len(weights)} weights; give one weight per value")


def _exact_mean(
    weighted: Iterable[tuple[Array, float]], weights: Sequence[float], dtype: np.dtype[np.generic], size: int
) -> Array:
    """The quotient truncated toward zero, of Python's integers: a float64 is a whole number of its last place."""
    scale = max(float(weight).as_integer_ratio()[1] for weight in weights)  # a power of two, as all of them are
    total, acc = 0, np.zeros(size, object)
    for value, weight in weighted:
        numerator, denominator = float(weight).as_integer_ratio()
        share = numerator * (scale // denominator)
        total += share
        for start in range(0, size, EXACT_BLOCK):
            numbers = value[start : start + EXACT_BLOCK].astype(dtype).astype(object)
            acc[start : start + EXACT_BLOCK] += numbers * share
    truncated = np.abs(acc) // total
    return np.where(acc < 0, -truncated, truncated).astype(dtype)


def total_of(weights: Sequence[float]) -> float:
    """Σ nᵢ, added in order. Raises ValueError for none, and for one that is not finite and positive."""
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


def add_product(
    acc: NDArray[np.float64],
    value: Array,
    weight: float,
    products: NDArray[np.float64],
    *,
    first: bool,
    origin: NDArray[np.float64] | None = None,
) -> None:
    """Adds weight·value to `acc`, or weight·(value - origin). `products` is overwritten, and may be smaller.

    The first product is stored, not added to zero, which would lose the sign of -0.0.
    """
    for start in range(0, acc.size, BLOCK):
        target = acc[start : start + BLOCK]
        product = target if first else products[: target.size]
        product[...] = value[start : start + BLOCK]
        if origin is not None:
            np.subtract(product, origin[start : start + BLOCK], out=product)
        np.multiply(product, weight, out=product)
        if not first:
            np.add(target, product, out=target)


def _clip(acc: NDArray[np.float64], dtype: np.dtype[np.generic]) -> None:
    """Keep within an integer dtype what float64 rounded past its end: 2^63 - 1 is no float64, 2^63 is no int64."""
    bounds = np.iinfo(dtype.name)
    highest = float(bounds.max)
    np.clip(acc, float(bounds.min), highest if int(highest) <= bounds.max else np.nextafter(highest, 0.0), out=acc)
