import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hansa.cli import credentials, words


@pytest.mark.parametrize("module", [words, credentials])
def test_the_examples_in_the_docstrings_hold(module):
    failed, tried = doctest.testmod(module)
    assert tried
    assert failed == 0


@given(st.integers(0, 10**18))
def test_a_size_has_at_most_four_digits_below_a_thousand_terabytes(count):
    number, unit = words.size(count).split()
    assert unit in ("B", "kB", "MB", "GB", "TB")
    assert count >= 10**15 or len(number.replace(".", "")) <= 3


@given(st.sets(st.uuids().map(str), min_size=1))
def test_short_ids_stay_different_and_are_beginnings(ids):
    short = words.short_ids(ids)
    assert len(set(short.values())) == len(ids)
    assert all(each.startswith(short[each]) for each in ids)
