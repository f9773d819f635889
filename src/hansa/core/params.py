"""Named arrays, and what is known of them without their numbers.

`Params` maps a name to an array. A `ParamSpec` describes a model: for every array its dtype, its shape, and whether
it is a *param* (learned: transforms, robust rules and server steps act on it) or a *buffer* (kept by the model itself,
such as a running mean: only averaged).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import prod

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
Params = Mapping[str, Array]

DTYPES = ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8")
"""What a model may hold. bool and complex have no mean; bfloat16 has no numpy dtype."""

MAX_NAME = 512


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
    """The arrays of a model, sorted by name. Raises ValueError for a name that comes twice."""

    arrays: tuple[ArraySpec, ...]

    def __post_init__(self) -> None:
        arrays = tuple(sorted(self.arrays, key=lambda array: array.name))
        for left, right in pairwise(arrays):
            if left.name == right.name:
                raise ValueError(f"{left.name!r} comes twice; the arrays of a model have different names")
        object.__setattr__(self, "arrays", arrays)

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

    @property
    def in_data_order(self) -> tuple[ArraySpec, ...]:
        """The arrays as their numbers follow each other: widest dtype first, then by dtype, then by name.

        Canonical files lie in this order, and whatever is accumulated over a whole model (a norm) runs in it. With
        the widest first every array is aligned; with each dtype together, long stretches are one array to numpy.
        """
        return tuple(sorted(self.arrays, key=lambda array: (-array.itemsize, array.dtype, array.name)))


def name_fault(name: str) -> str:
    """Why an array cannot have this name, or "" if it can.

    Names are shown in terminals, pages and logs and stored in databases, so control characters, lone surrogates and
    marks that reverse the direction of text are refused where they would enter.
    """
    if not name:
        return "it is empty"
    if len(name) > MAX_NAME:
        return f"it has {len(name)} characters, the limit is {MAX_NAME}"
    if not name.isprintable():
        return "it holds characters that cannot be printed"
    return ""


def spec_of(params: Params, *, buffers: frozenset[str] = frozenset()) -> ParamSpec:
    """The spec of arrays in memory. Names in `buffers` are buffers, the others params.

    Raises ValueError for a name or a dtype that a model cannot have, or a name in `buffers` that is not in `params`.
    """
    if unknown := sorted(buffers - params.keys()):
        raise ValueError(f"buffers names {unknown[:20]}, which the params do not hold; they hold {sorted(params)[:20]}")
    for name, array in params.items():
        if fault := name_fault(name):
            raise ValueError(f"an array cannot be named {name[:80]!r}: {fault}")
        if array.dtype.name not in DTYPES:
            raise ValueError(f"{name!r} has dtype {array.dtype}; a model may hold {', '.join(DTYPES)}")
    return ParamSpec(
        tuple(
            ArraySpec(name, array.dtype.name, array.shape, Kind.BUFFER if name in buffers else Kind.PARAM)
            for name, array in params.items()
        )
    )
