"""bfloat16 beside a slow obvious reference: the nearer of two neighbours, the even one of two that are as near."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hansa.core import bfloat16

LARGEST = 0x7F7F
"""The bits of the largest number; behind it is infinity."""


def number(bits):
    return Fraction(float(bfloat16.decoded(np.array([bits], np.uint16))[0]))


def slowly(value):
    """The bits of the nearest, by trying: they rise with the number."""
    low, high = 0, LARGEST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if number(middle) <= abs(Fraction(value)) else (low, middle)
    below, above = abs(Fraction(value)) - number(low), number(high) - abs(Fraction(value))
    nearest = low if below < above or (below == above and low % 2 == 0) else high
    return nearest | (0x8000 if np.signbit(value) else 0)


@given(st.floats(width=32, min_value=-(2.0**127), max_value=2.0**127))
def test_a_number_becomes_the_nearest_and_ties_go_to_the_even_one(value):
    assert int(bfloat16.encoded(np.array([value], np.float32))[0]) == slowly(value)


@given(
    st.one_of(
        st.floats(min_value=-(2.0**127), max_value=2.0**127),
        st.builds(
            lambda kept, power, behind, sign: sign * (256 + kept + 0.5 + behind) * 2.0 ** (power - 8),
            st.integers(0, 254),
            st.integers(-120, 120),
            st.sampled_from([0.0, 2.0**-22, -(2.0**-22), 2.0**-40, -(2.0**-40)]),
            st.sampled_from([1, -1]),
        ),
    )
)
@example(1 + 2**-8 + 2**-30)
@example(1 + 2**-8 + 2**-7 - 2**-30)
@example(2.0**-134 + 2.0**-170)
@example(5e-324)
def test_so_a_float64_whatever_is_behind_a_tie_of_its_float32(value):
    assert int(bfloat16.encoded(np.array([value]))[0]) == slowly(value)


def test_every_bit_pattern_but_those_of_nan_comes_back_as_it_was():
    bits = np.arange(2**16, dtype=np.uint16)
    numbers = bfloat16.decoded(bits)
    there = ~np.isnan(numbers)
    np.testing.assert_array_equal(bfloat16.encoded(numbers)[there], bits[there])
    assert (~there).sum() == 2 * 127
    assert np.isnan(bfloat16.decoded(bfloat16.encoded(numbers[~there]))).all()


@pytest.mark.parametrize("bits", [0x7F800001, 0x7FFFFFFF, 0xFF800001, 0xFFFFFFFF])
def test_a_nan_stays_one_wherever_its_digits_are(bits):
    nan = np.array([bits], np.uint32).view(np.float32)
    assert np.isnan(bfloat16.decoded(bfloat16.encoded(nan))).all()
    with np.errstate(invalid="ignore"):  # a signalling one says so when it is cast
        wide = nan.astype(np.float64)
    assert np.isnan(bfloat16.decoded(bfloat16.encoded(wide))).all()


def test_what_lies_beyond_the_range_becomes_an_infinity():
    largest = float(number(LARGEST))
    numbers = bfloat16.decoded(bfloat16.encoded(np.array([largest, 1.01 * largest, -1e300])))
    assert numbers.tolist() == [largest, np.inf, -np.inf]
