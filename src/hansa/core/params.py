"""Named arrays, and what is known of them without their numbers.

`Params` maps a name to an array. A `ParamSpec` describes a model: for every array its dtype, its shape, and whether
it is a *param* (learned: transforms, robust rules and server steps act on it) or a *buffer* (kept by the model itself,
such as a running mean: only averaged).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import prod

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
Params = Mapping[str, Array]

DTYPES = ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8")
"""What a model may hold. bool and complex have no mean; bfloat16 has no numpy dtype."""


class Kind(StrEnum):
    """What an array is to its model."""

    PARAM = "param"
    BUFFER = "buffer"


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """One named array: numpy dtype name, shape, kind."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    kind: Kind = Kind.PARAM

    @property
    def size(self) -> int:
        """Number of elements; 1 for a scalar."""
        return prod(self.shape)

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return np.dtype(self.dtype).itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.itemsize


@dataclass(frozen=True, slots=True)
class ParamSpec:
    """The arrays of a model, sorted by name."""

    arrays: tuple[ArraySpec, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "arrays", tuple(sorted(self.arrays, key=lambda array: array.name)))

    def __iter__(self) -> Iterator[ArraySpec]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, without any file's header."""
        return sum(array.nbytes for array in self.arrays)

    @property
    def num_params(self) -> int:
        """Elements of all arrays of kind param."""
        return sum(array.size for array in self.arrays if array.kind is Kind.PARAM)


def spec_of(params: Params, *, buffers: frozenset[str] = frozenset()) -> ParamSpec:
    """The spec of arrays in memory. Names in `buffers` are buffers, the others params.

    Raises ValueError for a dtype outside DTYPES, or a name in `buffers` that is not in `params`.
    """
    if unknown := sorted(buffers - params.keys()):
        raise ValueError(f"buffers names {unknown}, which the params do not hold; they hold {sorted(params)[:20]}")
    for name, array in params.items():
        if array.dtype.name not in DTYPES:
            raise ValueError(f"{name!r} has dtype {array.dtype}; a model may hold {', '.join(DTYPES)}")
    return ParamSpec(
        tuple(
            ArraySpec(name, array.dtype.name, array.shape, Kind.BUFFER if name in buffers else Kind.PARAM)
            for name, array in params.items()
        )
    )
