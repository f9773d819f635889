"""Moments of the small model, as a client sends them."""

import numpy as np

from hansa.core.moments import FIRST, SECOND
from support.work import File, file_of

ORDER = ["fc.bias", "fc.weight"]
"""The params of the small model, as its moments hold them; its buffers have none."""
LENGTH = 9


def moments(first: float = 1.0, spread: float = 0.5, *, length: int = LENGTH) -> File:
    """Weights around `first`, with `spread` for a standard deviation."""
    mean = np.linspace(first, first + 1, length)
    return vectors(mean, mean**2 + spread**2)


def vectors(first: np.ndarray, second: np.ndarray) -> File:
    """Two vectors as a file of moments."""
    return file_of({FIRST: first, SECOND: second}, frozenset())
