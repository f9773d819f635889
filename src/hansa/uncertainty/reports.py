"""What clients report of a version's trustworthiness is whole numbers, and these are checked before they are added."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MAX_EXAMPLES = 2**32
"""More than a client has: a count beyond it is a mistake, and would outweigh all others."""
MAX_POOLED = 2**56
"""More than all have together. Wider than that of a client, so that no client alone can make sums impossible."""

_BLOCK = 2**20
"""Values turned into integers together; the sum of so many, each below 2^42, is an int64."""


class ReportError(ValueError):
    """A report cannot be true of any data. `field` is what is wrong in it."""

    def __init__(self, field: str, fault: str) -> None:
        super().__init__(f"{field}: {fault}")
        self.field = field


def fixed_point(values: NDArray[np.float64], bits: int) -> int:
    """The sum of finite values, each rounded to a multiple of 2^-bits, in units of it.

    Sums of floats depend on the order of the addition; these do not. Values times 2^bits are at most 2^42 in size.

    >>> fixed_point(np.array([0.5, 0.25]), bits=2)
    3
    """
    scaled = np.rint(np.ldexp(values.reshape(-1), bits))
    blocks = range(0, scaled.size, _BLOCK)
    return sum(int(scaled[start : start + _BLOCK].astype(np.int64).sum()) for start in blocks)


def check_whole(field: str, value: object, most: int = MAX_POOLED) -> int:
    """A whole number of 0 to `most`, which a bool, a float or a numpy integer is not. Raises ReportError."""
    if type(value) is not int:
        raise ReportError(field, f"is {value!r:.40} of type {type(value).__name__}; a whole number is wanted")
    if not 0 <= value <= most:
        raise ReportError(field, f"is {value}; it is from 0 to {most}")
    return value


def check_wholes(field: str, values: Sequence[object], length: int) -> None:
    """`length` whole numbers, each at least 0; their upper bounds are for the caller. Raises ReportError."""
    if len(values) != length:
        raise ReportError(field, f"has {len(values)} numbers; {length} are wanted")
    for place, value in enumerate(values):
        check_whole(f"{field}[{place}]", value, most=2**100)


def check_same_examples(wanted: int, **counted: int | None) -> None:
    """Every part of one client's report was counted over the same examples; None is a part it did not send.

    Raises ReportError, naming the part that differs, and for more examples than a client has.

    >>> check_same_examples(100, losses=100, scores=None)
    >>> check_same_examples(100, losses=100, scores=99)
    Traceback (most recent call last):
    hansa.uncertainty.reports.ReportError: scores: was counted over 99 examples; the client reports 100
    """
    check_whole("num_examples", wanted, most=MAX_EXAMPLES)
    for part, examples in counted.items():
        if examples is not None and examples != wanted:
            raise ReportError(part, f"was counted over {examples} examples; the client reports {wanted}")
