"""Whether an array holds only numbers: one NaN in one update would be in every param of the mean."""

import numpy as np

from hansa.core.params import Array

BLOCK = 65_536
"""Elements looked at together, so that the answers take 64 KiB however large the array is."""


def first_not_finite(array: Array) -> int | None:
    """The flat index of the first NaN or infinity in C order, or None. Integers have neither.

    >>> first_not_finite(np.array([[1.0, 2.0], [np.inf, np.nan]]))
    2
    """
    if array.dtype.kind != "f":
        return None
    flat = array.reshape(-1)
    for start in range(0, flat.size, BLOCK):
        finite = np.isfinite(flat[start : start + BLOCK])
        if not finite.all():
            return start + int(np.argmin(finite))
    return None
