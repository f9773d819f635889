"""What others have named or said is shown, and does nothing."""

import doctest

from hypothesis import given
from hypothesis import strategies as st

from hansa.client import plaintext
from hansa.client.plaintext import clean


def test_the_example_in_the_docstring_holds():
    assert doctest.testmod(plaintext) == (0, 1)


@given(st.text())
def test_clean_text_is_one_line_of_printable_characters(text):
    cleaned = clean(text)
    assert len(cleaned.splitlines()) <= 1
    assert "".join(cleaned.split()).isprintable()


@given(st.text(st.characters(categories=["L", "N", "P"])))
def test_clean_leaves_ordinary_text_alone(text):
    assert clean(text) == text
