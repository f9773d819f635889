"""First and second moments of the weights around a version: SWAG's diagonal (Maddox et al. 2019, arXiv:1902.02476).

Over the iterates w₁ … w_T that stochastic gradient descent visits, element by element,

    first = (1/T) Σ wₜ        second = (1/T) Σ wₜ²        variance = second - first²        (eq. 1 and 2)

Moments of several clients add up as params do, Σ nᵢ·m_k,ᵢ / Σ nᵢ, which are the moments of all their iterates together.

They travel as two vectors of length P: all params of the model (no buffers) in the model's *order*, each in C order, an
array of several names once. Vectors are float64, whatever the params are: the variance is the small difference of two
large numbers, and of weights near 1 that vary by 0.0001 nothing would be left in float32.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hansa.core.params import Array, ArraySpec, Kind, Params, ParamSpec

FIRST, SECOND = "first_moment", "second_moment"

Vector = NDArray[np.float64]

TOLERANCE = 1e-4
"""By which share of first² second may stay below it: who adds up thousands of iterates in float32 rounds so much."""
TINY = float(np.finfo(np.float32).tiny)
"""And by how much: the square of what is small in float32 may be nothing there."""


class MomentsError(ValueError):
    """Two vectors cannot be the moments of any weights. `index` is the first element at fault."""

    def __init__(self, index: int, fault: str) -> None:
        super().__init__(fault)
        self.index = index


class RunningMoments:
    """Gathers moments over iterates, for trainers. Memory: 16 bytes for each element.

    >>> moments = RunningMoments()
    >>> moments.add({"w": np.float32([1, 2])})
    >>> moments.add({"w": np.float32([3, 2])})
    >>> moments.first()["w"], moments.second()["w"]
    (array([2., 2.]), array([5., 4.]))
    """

    def __init__(self) -> None:
        self.count = 0
        self._sums: dict[str, Vector] = {}
        self._squares: dict[str, Vector] = {}

    def add(self, params: Params) -> None:
        """One iterate. Raises ValueError for other names or shapes than those of the first."""
        if self.count and params.keys() != self._sums.keys():
            raise ValueError(f"the iterates have had {sorted(self._sums)[:20]}; this one has {sorted(params)[:20]}")
        for name, array in params.items():
            value = np.asarray(array, np.float64)
            if not self.count:
                self._sums[name], self._squares[name] = np.zeros(value.shape), np.zeros(value.shape)
            if value.shape != self._sums[name].shape:
                raise ValueError(f"{name!r} has had shape {self._sums[name].shape}; now it has {value.shape}")
            self._sums[name] += value
            self._squares[name] += np.square(value)
        self.count += 1

    def first(self) -> dict[str, Vector]:
        """The mean of the iterates by name. Raises ValueError before the first."""
        return self._mean(self._sums)

    def second(self) -> dict[str, Vector]:
        """The mean of their squares by name. Raises ValueError before the first."""
        return self._mean(self._squares)

    def _mean(self, sums: Mapping[str, Vector]) -> dict[str, Vector]:
        if not self.count:
            raise ValueError("no iterates were added; moments need at least one")
        return {name: np.divide(total, self.count) for name, total in sums.items()}


def moments_spec(length: int) -> ParamSpec:
    """What a file of moments holds.

    >>> [array.name for array in moments_spec(3)]
    ['first_moment', 'second_moment']
    """
    return ParamSpec(tuple(ArraySpec(name, "float64", (length,)) for name in (FIRST, SECOND)))


def param_order(spec: ParamSpec, ties: Iterable[Sequence[str]] = (), names: Iterable[str] = ()) -> tuple[str, ...]:
    """In which order the params of a model stand in its moments; of names that are one array, the first alone.

    `names` is the order that is known of the model (that of `parameters()`); names it lacks follow, sorted.

    >>> from hansa.core.params import spec_of
    >>> spec = spec_of({name: np.zeros(1) for name in "abcd"})
    >>> param_order(spec, ties=[("a", "c")], names=["c", "b", "a"])
    ('c', 'b', 'd')
    """
    params = {array.name: None for array in spec if array.kind is Kind.PARAM}
    ordered = [name for name in dict.fromkeys(names) if name in params]
    ordered += [name for name in params if name not in set(ordered)]
    group_of = {name: number for number, group in enumerate(ties) for name in group}
    seen: set[int] = set()
    kept = []
    for name in ordered:
        group = group_of.get(name)
        if group is None or group not in seen:
            kept.append(name)
        if group is not None:
            seen.add(group)
    return tuple(kept)


def num_elements(spec: ParamSpec, order: Sequence[str]) -> int:
    """P, the length of the vectors."""
    sizes = {array.name: array.size for array in spec}
    return sum(sizes[name] for name in order)


def flatten(params: Params, order: Sequence[str]) -> Vector:
    """The params as one vector, in the order given. Raises KeyError for a name that they lack.

    >>> flatten({"b": np.zeros(1), "a": np.ones((2, 1))}, ["b", "a"])
    array([0., 1., 1.])
    """
    pieces: list[Array] = [np.asarray(params[name], np.float64).reshape(-1) for name in order]
    return np.concatenate(pieces, dtype=np.float64) if pieces else np.empty(0)


def unflatten(vector: Vector, spec: ParamSpec, order: Sequence[str]) -> dict[str, Vector]:
    """The vector's elements by name, in the shapes of the model: views of it.

    Raises ValueError unless it has as many as the params in `order`.

    >>> from hansa.core.params import spec_of
    >>> unflatten(np.arange(3.0), spec_of({"b": np.zeros(1), "a": np.ones((2, 1))}), ["b", "a"])["a"].shape
    (2, 1)
    """
    wanted = num_elements(spec, order)
    if vector.shape != (wanted,):
        raise ValueError(f"the vector has shape {vector.shape}; the params in this order have ({wanted},)")
    shapes = {array.name: array.shape for array in spec}
    sizes = [int(np.prod(shapes[name], dtype=np.int64)) for name in order]
    pieces = np.split(vector, np.cumsum(sizes)[:-1]) if sizes else []
    return {name: piece.reshape(shapes[name]) for name, piece in zip(order, pieces, strict=True)}


def variance(first: Vector, second: Vector) -> Vector:
    """The diagonal of SWAG's covariance, second - first², not below 0.

    Raises MomentsError where second is negative, or below first² by more than rounding.
    """
    squares = np.square(first)
    spread = np.subtract(second, squares)
    _refuse(second < 0, second, "a mean of squares is never negative")
    _refuse(spread < -(TOLERANCE * squares + TINY), second, "the mean of squares is at least the square of the mean")
    return np.maximum(spread, 0.0, out=spread)


def _refuse(wrong: NDArray[np.bool_], second: Vector, rule: str) -> None:
    if wrong.any():
        index = int(np.argmax(wrong))
        raise MomentsError(index, f"the second moment is {second[index]:g}; {rule}")
