"""bfloat16 without a dtype for it: the upper half of a float32, as numbers of uint16.

It has the range of float32 and 8 bits of significand: rounded to the nearest, ties to even, a number in its normal
range is off by at most 2^-8 of itself.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint16]

HALF: Final = np.uint32(0x7FFF)
"""One less than half of the last place that is kept: with the last kept bit added, ties go to even."""
QUIET: Final = np.uint32(0x0040)
"""Set in every NaN: one whose digits are all in the lower half would else become an infinity."""


def encoded(values: NDArray[np.floating]) -> Bits:
    """The nearest bfloat16 of each. What lies beyond its range becomes an infinity; a NaN stays one.

    >>> [hex(bits) for bits in encoded(np.array([1.0, -2.0, 1.00390625, np.inf]))]
    ['0x3f80', '0xc000', '0x3f80', '0x7f80']
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        narrow = values.astype("<f4")
    bits = _rounded_to_odd(values, narrow) if values.itemsize > 4 else narrow.view("<u4")
    # An infinity carries nothing over: its digits are zeros. Only a NaN could, and it is replaced.
    rounded = (bits + (HALF + (bits >> 16 & np.uint32(1)))) >> 16
    return np.where(np.isnan(narrow), bits >> 16 | QUIET, rounded).astype("<u2")


def _rounded_to_odd(values: NDArray[np.floating], narrow: NDArray[np.float32]) -> NDArray[np.uint32]:
    """The bits of float32 whose last place says that something is behind it: 1 wherever `narrow` is not exact.

    To round to the nearest float32 first and then again could end on a tie that there was none: such bits round once
    (Boldo and Melquiond 2008, doi:10.1109/TC.2007.70819).
    """
    bits = narrow.view("<u4") - (np.abs(narrow) > np.abs(values))
    return np.asarray(bits | (narrow != values), "<u4")


def decoded(bits: Bits) -> NDArray[np.float32]:
    """The same numbers as float32, exactly.

    >>> decoded(np.array([0x3F80, 0xC000], np.uint16))
    array([ 1., -2.], dtype=float32)
    """
    wide: NDArray[np.float32] = (bits.astype("<u4") << 16).view("<f4")
    return wide
