"""How alike each update is to the mean that came of them, told while the mean is computed and from what it reads.

The mean of a chunk is known when its last update has been read, and then the first is gone. So a sample of every
update is kept until the chunk's mean is there: elements at equal steps, so many that all of them together have `ROOM`,
of which each stands for as many as a step is long. A model of which the cohort has no more elements than that in any
chunk is looked at whole, and then the cosines are exact; of a larger one they are estimates, off by a few thousandths
where a chunk gives a few thousand elements of each. The mean itself is not touched.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hansa.core.params import Array

ROOM = 2**19
"""Elements that the samples of a chunk have together: 4 MiB."""
LEAST = 64
"""Elements of each, however many updates there are."""

Vector = NDArray[np.float64]


class Products(NamedTuple):
    """Inner products of one chunk, with uᵢ an update and ū the mean's: both are taken from the base."""

    with_mean: Vector
    """⟨uᵢ, ū⟩ of each."""
    squares: Vector
    """⟨uᵢ, uᵢ⟩ of each."""
    mean_square: float
    """⟨ū, ū⟩"""


class Sample:
    """The same elements of every update's chunk, until its mean is there."""

    def __init__(self, *, updates: int, size: int) -> None:
        self.step = max(1, math.ceil(size / max(LEAST, ROOM // updates)))
        self._kept = np.empty((updates, len(range(0, size, self.step))))

    def keep(self, index: int, chunk: Array) -> None:
        """Of the update with this index."""
        self._kept[index] = chunk[:: self.step]

    def products(self, base: Array, mean: Array, learned: NDArray[np.bool_]) -> Products:
        """The inner products, over the elements that are `learned`: buffers are no part of an update."""
        counts = learned[:: self.step]
        with np.errstate(over="ignore", invalid="ignore"):
            origin = base[:: self.step].astype(np.float64)
            direction = (mean[:: self.step].astype(np.float64) - origin) * counts
            updates = np.subtract(self._kept, origin, out=self._kept)
            updates *= counts
            return Products(
                np.einsum("ij,j->i", updates, direction) * self.step,
                np.einsum("ij,ij->i", updates, updates) * self.step,
                float(np.einsum("j,j->", direction, direction)) * self.step,
            )


class Likeness:
    """cos(uᵢ, ū) of every update of a cohort, from the products of all chunks.

    >>> likeness, sample = Likeness(2), Sample(updates=2, size=2)
    >>> sample.keep(0, np.float32([1, 0]))
    >>> sample.keep(1, np.float32([0, 1]))
    >>> likeness.add(sample.products(np.zeros(2), np.full(2, 0.5), np.array([True, True])))
    >>> [round(cosine, 3) for cosine in likeness.cosines()]
    [0.707, 0.707]
    """

    def __init__(self, updates: int) -> None:
        self._sum = Products(np.zeros(updates), np.zeros(updates), 0.0)

    def add(self, products: Products) -> None:
        """Those of one more chunk."""
        ours = self._sum
        self._sum = Products(
            ours.with_mean + products.with_mean,
            ours.squares + products.squares,
            ours.mean_square + products.mean_square,
        )

    def cosines(self) -> list[float | None]:
        """In the order of the updates; None where one of the two is zero, or too large to be squared."""
        return [
            _cosine(float(dot), float(square), self._sum.mean_square)
            for dot, square in zip(self._sum.with_mean, self._sum.squares, strict=True)
        ]


def from_gram(gram: NDArray[np.float64], factors: Vector, own: int) -> Products:
    """The products of all chunks at once, where ū is Σ aᵢ·uᵢ and the inner products of the updates are known; of the
    first `own` updates.

    >>> from_gram(np.array([[4.0, 0.0], [0.0, 1.0]]), np.array([0.5, 0.0]), own=2)
    Products(with_mean=array([2., 0.]), squares=array([4., 1.]), mean_square=1.0)
    """
    with np.errstate(over="ignore", invalid="ignore"):
        with_mean = np.add.reduce(np.where(factors == 0, 0.0, gram * factors), axis=1)
        square = float(np.add.reduce(np.where(factors == 0, 0.0, with_mean * factors)))
    return Products(with_mean[:own], np.diagonal(gram)[:own].copy(), square)


def _cosine(dot: float, square: float, other: float) -> float | None:
    lengths = math.sqrt(square) * math.sqrt(other)
    if not (lengths > 0 and math.isfinite(lengths) and math.isfinite(dot)):
        return None
    return max(-1.0, min(1.0, dot / lengths))
