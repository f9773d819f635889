"""Server-sent events: how one is written in lines, and the id of the last one that a client has seen."""

import msgspec
import pytest
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from hansa.server.lifecycle.events import Event, last_event_id
from lifecycle.event_sources import SILENCE, received


class Point(msgspec.Struct):
    x: int


@pytest.mark.parametrize(
    ("event", "wire"),
    [
        (Event("hello"), b"data: hello\n\n"),
        (Event(""), b"data: \n\n"),
        (Event("a\nb\r\nc\rd\n"), b"data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"),
        (Event("no line ends here: \x0b\x0c\x85\u2028"), "data: no line ends here: \x0b\x0c\x85\u2028\n\n".encode()),
        (Event(Point(3)), b'data: {"x":3}\n\n'),
        (Event({"text": "a\nb"}), b'data: {"text":"a\\nb"}\n\n'),
        (Event(None), b"data: null\n\n"),
        (Event(1, event="tick", id="é7", retry=500), "event: tick\nid: é7\nretry: 500\ndata: 1\n\n".encode()),
        (Event(1, id=""), b"id: \ndata: 1\n\n"),
    ],
)
def test_an_event_is_written_in_lines(event, wire):
    assert event.encode() == wire


one_line = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\n\0"))


@given(data=st.text(st.characters(exclude_categories=("Cs",))), kind=one_line, identity=one_line)
def test_a_client_reads_what_was_said(data, kind, identity):
    wire = SILENCE + Event(data, event=kind, id=identity).encode() + SILENCE

    lines = data.replace("\r\n", "\n").replace("\r", "\n")
    assert received(wire) == [(kind or "message", lines, identity)]


@pytest.mark.parametrize("name", ["event", "id"])
@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\0b"])
def test_nothing_breaks_out_of_its_line(name, text):
    with pytest.raises(ValueError, match=rf"The {name} of an event is one line: .* Leave it out"):
        Event("x", **{name: text})


def test_nobody_comes_again_before_it_went():
    with pytest.raises(ValueError, match="retry is -1"):
        Event("x", retry=-1)


# Last-Event-ID


def asked(url="/", **headers):
    return RequestFactory().get(url, headers=headers)


@pytest.mark.parametrize(
    ("request_", "found"),
    [
        (asked(), None),
        (asked(**{"Last-Event-ID": "7"}), "7"),
        (asked("/?last_event_id=8"), "8"),
        (asked("/?last_event_id=8", **{"Last-Event-ID": "7"}), "7"),
        (asked("/?last_event_id=8", **{"Last-Event-ID": ""}), "8"),
        (asked("/?last_event_id=", **{"Last-Event-ID": ""}), None),
        (asked(**{"Last-Event-ID": "é".encode().decode("latin-1")}), "é"),
        (asked("/?last_event_id=%C3%A9"), "é"),
        (Request(asked("/?last_event_id=8")), "8"),
        (asked(**{"Last-Event-ID": "x" * 1024}), "x" * 1024),
    ],
)
def test_who_comes_again_says_what_it_has(request_, found):
    assert last_event_id(request_) == found


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        (asked("/?last_event_id=a%00b"), "a line break or a NUL"),
        (asked("/?last_event_id=a%0Ab"), "a line break or a NUL"),
        (asked("/?last_event_id=" + "x" * 1025), "1,025 characters; at most 1,024"),
        (asked(**{"Last-Event-ID": "\xff"}), "not UTF-8"),
    ],
)
def test_what_is_no_id_is_refused(request_, problem):
    with pytest.raises(ValidationError) as refusal:
        last_event_id(request_)
    assert problem in refusal.value.detail["last_event_id"][0]
