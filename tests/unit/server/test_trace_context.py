"""`traceparent` and `tracestate` are read as the W3C's Trace Context, level 1, says; what is malformed has not come."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hansa.tracecontext import MOST_MEMBERS, Span, received

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{PARENT}-01"

hexes = st.text("0123456789abcdef")


def test_a_trace_goes_on_with_a_new_step():
    asking = received([VALID], ["rojo=00f067aa0ba902b7"])
    assert asking == Span(TRACE, PARENT, 1, "rojo=00f067aa0ba902b7")

    ours = asking.child()
    assert (ours.trace_id, ours.flags, ours.state) == (TRACE, 1, "rojo=00f067aa0ba902b7")
    assert ours.span_id != PARENT
    assert ours.headers() == {"traceparent": f"00-{TRACE}-{ours.span_id}-01", "tracestate": "rojo=00f067aa0ba902b7"}


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-",
        f"00-{TRACE}-{PARENT}-1",
        f"00-{TRACE}-{PARENT}-011",
        f"00-{TRACE}-{PARENT}-01-",
        f"00-{TRACE}-{PARENT}-01-what-the-future-will-be-like",
        f"00-{TRACE}-{PARENT}-0x",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT.upper()}-01",
        f"00-{TRACE[:-1]}-{PARENT}-01",
        f"00-{TRACE}0-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"0-{TRACE}-{PARENT}-01",
        f"000-{TRACE}-{PARENT}-01",
        f"0X-{TRACE}-{PARENT}-01",
        f"cc-{TRACE}-{PARENT}-01.what-the-future-will-be-like",
        f"00.{TRACE}.{PARENT}.01",
        f"{VALID},{VALID}",
        f"00-{TRACE}-{PARENT}-01\n",
        f"00-{TRACE}-{PARENT}-01\r\nx: y",
        f"00-{TRACE[:-1]}\u0661-{PARENT}-01",
    ],
)
def test_what_is_malformed_begins_no_trace(header):
    assert received([header], ["rojo=1"]) is None


def test_two_parents_are_none():
    assert received([VALID, VALID]) is None
    assert received([]) is None


@pytest.mark.parametrize("header", [f" {VALID}", f"{VALID}\t"])
def test_space_around_the_header_is_none_of_it(header):
    assert received([header]) == Span(TRACE, PARENT, 1)


@pytest.mark.parametrize("more", ["", "-", "-what-the-future-will-be-like", "-01"])
def test_a_later_version_is_read_as_far_as_it_is_known_and_passed_on_as_ours(more):
    asking = received([f"cc-{TRACE}-{PARENT}-01{more}"])
    assert asking == Span(TRACE, PARENT, 1)
    assert asking.headers() == {"traceparent": VALID}


def test_flags_that_are_not_defined_yet_are_not_passed_on():
    assert received([f"00-{TRACE}-{PARENT}-ff"]).flags == 1
    assert received([f"00-{TRACE}-{PARENT}-fe"]).flags == 0


@pytest.mark.parametrize(
    ("headers", "passed_on"),
    [
        (["foo=1"], "foo=1"),
        (["foo=1,bar=2"], "foo=1,bar=2"),
        (["foo=1", "bar=2"], "foo=1,bar=2"),
        (["foo=1 \t , \tbar=2"], "foo=1,bar=2"),
        (["foo=1", "", " , "], "foo=1"),
        (["fw529a3039@dt=FfAAAA"], "fw529a3039@dt=FfAAAA"),
        (["0tenant@dt=1"], "0tenant@dt=1"),
        (["a*/_-b=x y!~"], "a*/_-b=x y!~"),
        ([f"{'z' * 256}=1"], f"{'z' * 256}=1"),
        ([f"{'t' * 241}@{'v' * 14}=1"], f"{'t' * 241}@{'v' * 14}=1"),
        ([f"foo={'v' * 256}"], f"foo={'v' * 256}"),
    ],
)
def test_the_state_is_passed_on_as_it_came(headers, passed_on):
    assert received([VALID], headers).state == passed_on


@pytest.mark.parametrize(
    "header",
    [
        "foo",
        "foo=",
        "=1",
        "foo =1",
        "FOO=1",
        "1foo=1",
        "foo.bar=1",
        "foo@=1,bar=2",
        "@foo=1",
        "foo@@bar=1",
        "foo@bar@baz=1",
        "foo=bar=baz",
        "foo=1,foo=1",
        "foo=\u00e4",
        "foo=a\x01",
        f"{'z' * 257}=1",
        f"{'t' * 242}@v=1",
        f"t@{'v' * 15}=1",
        f"foo={'v' * 257}",
        ",".join(f"k{number}=1" for number in range(MOST_MEMBERS + 1)),
    ],
)
def test_a_state_that_is_malformed_is_dropped_and_the_trace_goes_on(header):
    assert received([VALID], [header]) == Span(TRACE, PARENT, 1)


@given(st.lists(st.text(), max_size=2), st.lists(st.text(), max_size=3))
def test_whatever_comes_is_read_or_not_and_nothing_else(parents, states):
    span = received(parents, states)
    assert span is None or re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", span.headers()["traceparent"])


@given(
    hexes.filter(lambda text: text.strip("0")).map(lambda text: text[:32].rjust(32, "1")),
    st.integers(1, 2**64 - 1),
    st.integers(0, 255),
)
def test_what_we_send_we_can_read(trace_id, span_id, flags):
    span = Span(trace_id, f"{span_id:016x}", flags & 1)
    assert received([span.headers()["traceparent"]]) == span


def test_a_new_trace_can_be_named():
    assert Span.root("ab" * 16).trace_id == "ab" * 16
    assert received([Span.root().headers()["traceparent"]]) is not None
