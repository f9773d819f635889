"""Weights drawn around a version: SWAG-Diagonal (Maddox et al. 2019, arXiv:1902.02476, section 3.2 and algorithm 1).

    sigma² = m₂ - m₁²    θ = m₁ + sigma·z    z ~ N(0, I): the standard deviation times z, not the variance

Moments are those of `hansa.core.moments`: float64 vectors of length P, all params in the model's recorded order, each
in C order, an array of several names once. A predictive distribution takes a new draw for every pass. Batch-norm
statistics belong to the weights they were computed with; the paper computes them anew over training data for each
draw. Who has no data (a server) keeps those of the version, which is an approximation to be told with the answer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hansa.core.moments import Vector, unflatten, variance
from hansa.core.params import Array, ParamSpec

BLOCK = 65_536
"""Elements drawn together: beside the result a draw takes 0.5 MiB, however large the model is."""


@dataclass(frozen=True, slots=True, eq=False)
class Gaussian:
    """Independent normal distributions of P weights: means and standard deviations, float64, not to be changed."""

    mean: Vector
    std: Vector

    def draw(self, rng: np.random.Generator, scale: float = 1.0) -> Vector:
        """One vector of weights. `scale` widens or narrows it: 1 is SWAG, 0 the mean.

        The stream is that of `rng.standard_normal`: the same for one seed and one release of numpy.
        """
        weights = np.empty_like(self.mean)
        for start in range(0, weights.size, BLOCK):
            part = slice(start, start + BLOCK)
            noise = rng.standard_normal(weights[part].size)
            noise *= self.std[part]
            np.add(self.mean[part], scale * noise, out=weights[part])
        return weights


def gaussian(first: Vector, second: Vector) -> Gaussian:
    """What the moments say of the weights. Where rounding leaves less than 0 for a variance, it is 0.

    Raises core.moments.MomentsError for vectors that are no moments, ValueError for lengths that differ.

    >>> gaussian(np.array([1.0, 2.0]), np.array([1.25, 4.0])).std
    array([0.5, 0. ])
    """
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(
            f"the moments have shapes {first.shape} and {second.shape}; two equally long vectors are wanted"
        )
    mean = np.asarray(first, np.float64)
    return Gaussian(mean, np.sqrt(variance(mean, np.asarray(second, np.float64))))


def params_of(
    vector: Vector, spec: ParamSpec, order: Sequence[str], ties: Iterable[Sequence[str]] = ()
) -> dict[str, Array]:
    """A vector of weights as named params in the model's shapes and dtypes; an array of several names under each.

    Buffers are not among them. Integers are rounded to the nearest, as a draw has fractions. Raises ValueError unless
    the vector has as many elements as the params in `order`.

    >>> from hansa.core.params import spec_of
    >>> params_of(np.array([1.0, 2.0]), spec_of({"a": np.zeros(2, np.float32)}), ["a"])
    {'a': array([1., 2.], dtype=float32)}
    """
    dtypes = {array.name: np.dtype(array.dtype) for array in spec}
    params: dict[str, Array] = {}
    for name, values in unflatten(vector, spec, order).items():
        whole = dtypes[name].kind in "iu"
        params[name] = (np.rint(values) if whole else values).astype(dtypes[name])
    for names in ties:
        held = next((name for name in names if name in params), None)
        if held is not None:
            params.update(dict.fromkeys(names, params[held]))
    return params
