"""The L2 norm of an update, the same bits however the model was cut into chunks."""

import math

import numpy as np

from hansa.core.params import Array

BLOCK = 65_536
"""Elements whose squares are added together before they join the sum. Part of the result: never change it."""


class DifferenceNorm:
    """‖client - base‖₂ over all arrays added, as one vector, in float64.

    The vector is cut into blocks of 65,536 elements wherever the arrays end; the sums of the blocks are added in
    order. Within a block numpy adds in pairs, by a tree that depends on the block's length alone: no BLAS, whose dot
    product splits a long vector over however many threads it has. Arrays must come in one order (the model's data
    order); in which pieces does not matter.

    >>> norm = DifferenceNorm()
    >>> norm.add(np.float32([4, 5]), np.float32([1, 1]))
    >>> norm.value()
    5.0
    """

    def __init__(self) -> None:
        self._sum = 0.0
        self._block = np.empty(BLOCK)
        self._base = np.empty(BLOCK)
        self._filled = 0

    def add(self, client: Array, base: Array) -> None:
        """Append two arrays of the same shape to the vectors. Raises ValueError if their shapes differ."""
        if client.shape != base.shape:
            raise ValueError(f"the client's array has shape {client.shape}, the base's {base.shape}; they must agree")
        ours, theirs = client.reshape(-1), base.reshape(-1)
        start = 0
        with np.errstate(over="ignore", invalid="ignore"):
            while start < ours.size:
                stop = min(ours.size, start + BLOCK - self._filled)
                end = self._filled + stop - start
                piece, subtrahend = self._block[self._filled : end], self._base[self._filled : end]
                piece[...] = ours[start:stop]
                subtrahend[...] = theirs[start:stop]
                np.subtract(piece, subtrahend, out=piece)
                np.multiply(piece, piece, out=piece)
                start, self._filled = stop, end
                if self._filled == BLOCK:
                    self._sum += float(np.add.reduce(self._block))
                    self._filled = 0

    def value(self) -> float:
        """The norm of what was added so far; 0.0 for nothing, infinite where a square leaves float64's range."""
        return math.sqrt(self._sum + float(np.add.reduce(self._block[: self._filled])))
