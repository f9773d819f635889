"""hansa.core.staleness: n · (1 + τ)^-a, the same bits everywhere."""

import decimal
import subprocess
import sys
from fractions import Fraction
from math import isqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hansa.core.staleness import factor, weight

EXAMPLES = st.integers(1, 2**53)
STALENESS = st.integers(0, 1000)


def correctly_rounded_root(examples, staleness):
    """Of n examples n / √(1 + τ), by whole numbers alone: the float64 nearest to a bracket that is 2^-400 wide."""
    shift = 400
    square = Fraction(examples * examples, 1 + staleness)
    low = isqrt(square.numerator * 2 ** (2 * shift) // square.denominator)
    below, above = Fraction(low, 2**shift), Fraction(low + 1, 2**shift)
    assert float(below) == float(above) or below**2 == square
    return float(below)


@given(EXAMPLES, STALENESS)
def test_with_an_exponent_of_one_half_it_is_divided_by_a_square_root(examples, staleness):
    assert weight(examples, staleness, 0.5) == correctly_rounded_root(examples, staleness)


@given(EXAMPLES, STALENESS, st.integers(0, 100))
def test_with_a_whole_exponent_it_is_the_nearest_float_of_a_fraction(examples, staleness, exponent):
    assert weight(examples, staleness, float(exponent)) == float(Fraction(examples, (1 + staleness) ** exponent))


@given(EXAMPLES, STALENESS)
def test_an_exponent_of_zero_makes_no_difference(examples, staleness):
    assert weight(examples, staleness, 0.0) == examples


@given(EXAMPLES, st.floats(0, 100))
def test_what_is_not_late_weighs_what_it_weighs(examples, exponent):
    assert weight(examples, 0, exponent) == examples


@given(EXAMPLES, STALENESS, STALENESS, st.floats(0, 100))
def test_the_later_the_less_and_never_nothing(examples, earlier, later, exponent):
    first, second = sorted((earlier, later))

    assert weight(examples, first, exponent) >= weight(examples, second, exponent) > 0


def test_the_exponent_is_the_decimal_number_that_the_plan_shows():
    assert factor(9, 0.3) == 0.5011872336272722  # 10^-0.3 = 0.50118723362727228500...
    assert factor(1, 0.5) == 0.7071067811865476


def test_it_does_not_depend_on_the_decimal_context_of_the_thread():
    with decimal.localcontext() as context:
        context.prec = 3
        context.traps[decimal.Inexact] = True

        assert weight(7, 2, 0.5) == correctly_rounded_root(7, 2)


def test_pythons_own_decimal_gives_the_same_bits_as_the_one_in_c():
    program = (
        "import sys; sys.modules['_decimal'] = None\n"
        "from hansa.core.staleness import weight\n"
        "assert '_pydecimal' in sys.modules\n"
        f"print([weight(n, t, a).hex() for n, t, a in {CASES}])"
    )
    pure = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert pure.stdout.strip() == str([weight(*case).hex() for case in CASES])


CASES = [(n, t, a) for n in (1, 10, 999, 2**53) for t in (1, 2, 7, 1000) for a in (0.1, 0.5, 0.7, 1.0, 3.3, 100.0)]


@pytest.mark.parametrize(
    ("case", "seen"),
    [
        ((0, 1, 0.5), "0 examples"),
        ((1, -1, 0.5), "-1 rounds late"),
        ((1, 1, -0.1), "-0.1"),
        ((1, 1, float("nan")), "nan"),
        ((1, 1, float("inf")), "inf"),
    ],
)
def test_refuses_what_is_no_weight(case, seen):
    with pytest.raises(ValueError, match=seen):
        weight(*case)
