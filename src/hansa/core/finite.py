"""Whether an array holds only numbers, and numbers that can be added: one NaN in one update would be in every param of
the mean, and so would an infinity that comes of adding what is finite.
"""

from typing import Final

import numpy as np

from hansa.core.params import Array

BLOCK = 65_536
"""Elements looked at together, so that the answers take 64 KiB however large the array is."""


LARGEST: Final = 2.0**900
"""About 8e270. What is averaged is multiplied by up to 2^53 examples and added in float64, whose range ends at 2^1024:
of values up to this no cohort that exists has a mean that is not finite. Only float64 has larger ones.
"""


def first_not_addable(array: Array) -> int | None:
    """The flat index of the first NaN, infinity, or value beyond ±`LARGEST` in C order, or None.

    >>> first_not_addable(np.array([1.0, -1e300, np.nan]))
    1
    >>> first_not_addable(np.array([np.finfo(np.float32).max], np.float32))
    """
    if array.dtype.kind != "f" or array.dtype.itemsize < 8:
        return first_not_finite(array)
    flat = array.reshape(-1)
    for start in range(0, flat.size, BLOCK):
        addable = np.abs(flat[start : start + BLOCK]) <= LARGEST
        if not addable.all():
            return start + int(np.argmin(addable))
    return None


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
