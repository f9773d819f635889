"""What a cell says is a stranger's word: within bounds it is an answer, beyond them it is none."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hansa.sandbox.messages import MAX_EMPTY, MAX_TEXT, Answer, Failed, Outcome, Summary, Tensor, Traced, checked


def said(outcome: Outcome) -> bytes:
    return msgspec.msgpack.encode(Answer(outcome, again=True))


def test_an_answer_is_an_answer() -> None:
    tensor = Tensor.of(np.ones((2, 3), np.float32))
    assert checked(said(tensor)) == Answer(tensor, again=True)


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        (Tensor("float32", (2, 3), bytes(23)), "23 bytes are no array"),
        (Tensor("float32", (-1, -1), bytes(4)), "no array"),
        (Tensor("int64", (1,), bytes(8)), "dtype 'int64'"),
        (Tensor("object", (1,), bytes(8)), "dtype 'object'"),
        (Tensor("no type at all", (1,), bytes(8)), "dtype 'no type at all'"),
        (Tensor("float32", (2**40, 0), b""), "empty places"),
        (Tensor("float32", (0, 2**20, 2**20), b""), "empty places"),
        (Tensor("float32", (1,) * 40, bytes(4)), "no array"),
        (Summary({"x" * 501: Traced(None, None, None)}), "a summary"),
        (Summary({str(n): Traced(None, None, None) for n in range(10_001)}), "10,001 modules"),
        (Summary({"": Traced((-1,), None, None)}), "no layer has"),
        (Summary({"": Traced((1,) * 33, None, None)}), "no layer has"),
        (Summary({"": Traced(None, None, 2**60)}), "no layer has"),
    ],
)
def test_what_is_beyond_all_bounds_is_no_answer(outcome: Outcome, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        checked(said(outcome))


def test_an_empty_array_of_few_places_is_an_answer() -> None:
    array = checked(said(Tensor("float32", (MAX_EMPTY, 0), b""))).outcome
    assert isinstance(array, Tensor)
    assert array.array().shape == (MAX_EMPTY, 0)


def test_texts_are_cleaned_and_who_failed_is_not_asked_again() -> None:
    answer = checked(said(Failed("a\nb\x1b[31m" + "x" * 100_000)))
    assert isinstance(answer.outcome, Failed)
    assert answer.outcome.detail.startswith("a b\N{REPLACEMENT CHARACTER}[31m")
    assert len(answer.outcome.detail) == MAX_TEXT
    assert not answer.again


@given(st.binary(max_size=200))
def test_garbled_bytes_are_no_answer(content: bytes) -> None:
    try:
        checked(content)
    except ValueError:
        return
    assert isinstance(msgspec.msgpack.decode(content), dict)


@pytest.mark.parametrize("content", [b"", b"\xc1", b"\x91" * 5000, said(Failed("x"))[:-3], b"\xdf\xff\xff\xff\xff"])
def test_pieces_and_nests_are_no_answer(content: bytes) -> None:
    with pytest.raises(ValueError, match="the answer is none"):
        checked(content)
