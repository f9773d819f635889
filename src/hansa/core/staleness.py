"""How much an update counts that comes late: polynomial staleness weighting.

s(τ) = (1 + τ)^-a for an update that is τ rounds late (Xie et al. 2019, arXiv:1903.03934, section 5.2, "Poly"). There s
scales the step from the old model to the new one; here it scales the update's weight in the mean of the round in which
it counts, beside updates of weight n that came in time. a = 0 makes no difference; the greater a, the less it counts.

libm's `pow` may differ from machine to machine in the last bit, so it is not asked: the number is computed in decimal,
to 60 digits, and rounded once to the nearest float64. It is written down where it is used (`Round.folded`), so that a
version never depends on computing it again.
"""

from decimal import Context, Decimal
from typing import Final

_DIGITS: Final = Context(prec=60)
"""60 digits, 43 more than a float64 has: the error of `power` cannot turn the rounding, but by a chance of 10^-40."""


def weight(num_examples: int, staleness: int, exponent: float) -> float:
    """num_examples · (1 + staleness)^-exponent, as the nearest float64.

    The exponent counts as the decimal number that the plan shows: 0.1 is a tenth. Raises ValueError for fewer than one
    example, a negative staleness, or an exponent that is negative or not finite.

    >>> weight(10, 3, 0.5)
    5.0
    >>> weight(10, 1, 0.5)
    7.0710678118654755
    """
    if num_examples < 1 or staleness < 0:
        raise ValueError(
            f"{num_examples} examples, {staleness} rounds late: wanted are 1 or more examples, 0 or more rounds"
        )
    a = Decimal(str(exponent))
    if not a.is_finite() or a < 0:
        raise ValueError(f"the staleness exponent is {exponent}; wanted is a finite number from 0 on")
    share = _DIGITS.power(Decimal(1 + staleness), -a)
    return float(_DIGITS.multiply(Decimal(num_examples), share))


def factor(staleness: int, exponent: float) -> float:
    """(1 + staleness)^-exponent: how much one example of a late update counts.

    >>> round(factor(1, 0.5), 2)
    0.71
    """
    return weight(1, staleness, exponent)
