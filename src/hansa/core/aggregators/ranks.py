"""What every client sent for an element, in ascending order."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

Block = NDArray[np.floating]

TILE: Final = 65_536
"""Values sorted together: they stay in the processor's cache. No part of the result."""


def ranked(block: Block) -> Iterator[tuple[slice, Block]]:
    """The columns of (cohort, n) in tiles: where they are, and each one's values sorted, (columns, cohort).

    A tile is turned before it is sorted, for numpy sorts what lies together many times faster than what does not.

    >>> [(where, values.tolist()) for where, values in ranked(np.array([[3.0, 1.0], [2.0, 9.0]]))]
    [(slice(0, 2, None), [[2.0, 3.0], [1.0, 9.0]])]
    """
    cohort, size = block.shape
    step = max(16, TILE // cohort)
    for start in range(0, size, step):
        where = slice(start, min(size, start + step))
        tile = np.array(block[:, where].T, order="C")
        tile.sort(axis=1)
        yield where, tile
