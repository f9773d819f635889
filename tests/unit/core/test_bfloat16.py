"""bfloat16 beside a slow obvious reference: the nearer of two neighbours, the even one of two that are as near."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
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


def test_what_lies_beyond_the_range_becomes_an_infinity():
    largest = float(number(LARGEST))
    numbers = bfloat16.decoded(bfloat16.encoded(np.array([largest, 1.01 * largest, -1e300])))
    assert numbers.tolist() == [largest, np.inf, -np.inf]
