"""One record is one line, whatever is in it, and tells what was noted where it was logged."""

import asyncio
import io
import json
import logging
import logging.config
import sys
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hansa.server.config import LogFormat
from hansa.server.lifecycle.context import bound, note, noted
from hansa.server.lifecycle.observing import Exchange
from hansa.server.ops import logs

FORGED = "ok\n2026-01-01 00:00:00Z CRITICAL hansa: the disk is on fire\r\x1b[2J\u2028x\x85y\u202egnp"


def lines_of(formatter, **record):
    written = {"level": logging.INFO, "msg": "a message", "args": (), "exc_info": None, **record}
    made = logging.LogRecord("hansa.test", written.pop("level"), __file__, 1, **written)
    return formatter.format(made)


@pytest.fixture
def console():
    return logs.ConsoleLines(colours=False)


def test_a_line_for_people_says_when_how_bad_where_and_what(console):
    with bound(request_id="abc", client=UUID(int=7), round=3, reason="it is late", trace_id="not for people"):
        line = lines_of(console, msg="Training %s began.", args=("digits",))

    when, _, rest = line.partition("Z ")
    assert len(when) == len("2026-11-22 18:00:00")
    assert rest == (
        "INFO     hansa.test: Training digits began. "
        '[request_id=abc client=00000000-0000-0000-0000-000000000007 round=3 reason="it is late"]'
    )


def test_a_line_for_programs_is_an_object():
    with bound(request_id="abc", client=UUID(int=7), round=3, trace_id="5" * 32):
        told = json.loads(lines_of(logs.JSONLines(), msg="Training %s began.", args=("digits",)))

    assert told.pop("time").startswith("20")
    assert told == {
        "level": "info",
        "logger": "hansa.test",
        "message": "Training digits began.",
        "request_id": "abc",
        "client": "00000000-0000-0000-0000-000000000007",
        "round": 3,
        "trace_id": "5" * 32,
    }


def test_a_logged_value_writes_no_line_of_its_own(console):
    with bound(reason=FORGED):
        for formatter in (console, logs.JSONLines()):
            line = lines_of(formatter, msg="%s", args=(FORGED,))
            assert len(line.splitlines()) == 1
            assert line.isprintable()


def test_a_traceback_stands_below_its_line_and_cannot_be_taken_for_one(console):
    try:
        raise ValueError(FORGED)
    except ValueError:
        below = {"exc_info": sys.exc_info(), "level": logging.ERROR}

    first, *others = lines_of(console, **below).splitlines()
    assert "a message" in first
    assert len(others) >= 4
    assert all(line.startswith("    ") for line in others)
    assert "ValueError" in json.loads(lines_of(logs.JSONLines(), **below))["exception"]


def test_no_mark_of_direction_reaches_a_line(console):
    """All that Unicode calls Bidi_Control: they reorder what stands beside them."""
    marks = [0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
    with bound(reason="".join(map(chr, marks))):
        line = lines_of(console, msg="%s", args=("".join(map(chr, marks)),))

    assert not set(line) & set(map(chr, marks))
    assert line.count("\\u061c") == 2


@given(st.text(), st.text())
def test_no_text_breaks_a_line(message, value):
    with bound(value=value):
        for formatter in (logs.ConsoleLines(colours=False), logs.JSONLines()):
            assert len(lines_of(formatter, msg="%s", args=(message,)).splitlines()) == 1


def test_levels_have_colours_on_a_terminal_only():
    assert "\x1b[31mERROR" in lines_of(logs.ConsoleLines(colours=True), level=logging.ERROR)
    assert "\x1b" not in lines_of(logs.ConsoleLines(colours=False), level=logging.ERROR)


def exchange(route="api/models/", status=200):
    return Exchange("GET", route, status, 0.0123, 1, 2)


@pytest.fixture
def logged(monkeypatch):
    """Set the server's log up; what it writes for some exchanges."""
    before = {name: logging.getLogger(name).level for name in ("", logs.ACCESS)}
    handlers = logging.getLogger().handlers[:]

    def written(*exchanges, form=LogFormat.JSON, level="INFO", access=True):
        out = io.StringIO()
        monkeypatch.setattr(sys, "stderr", out)
        settings = logs.settings(form, level, access=access)
        settings["loggers"] = {logs.ACCESS: settings["loggers"][logs.ACCESS]}
        logging.config.dictConfig(settings)
        for each in exchanges:
            logs.request_ended(each)
        return out.getvalue().splitlines()

    yield written
    logging.getLogger().handlers[:] = handlers
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


def test_a_request_has_a_line_with_what_it_was_and_cost(logged):
    (line,) = logged(exchange())

    told = json.loads(line)
    fields = {name: told[name] for name in ("logger", "method", "route", "status", "ms", "received", "sent")}
    assert fields == {
        "logger": "hansa.access",
        "method": "GET",
        "route": "api/models/",
        "status": 200,
        "ms": 12.3,
        "received": 1,
        "sent": 2,
    }


def test_people_see_no_requests_unless_they_ask_for_them(logged):
    assert logged(exchange(), access=False) == []
    assert len(logged(exchange(), form=LogFormat.CONSOLE)) == 1


def test_probes_that_are_well_are_worth_no_line(logged):
    assert logged(exchange("livez"), exchange("readyz"), exchange("metrics"), exchange("api/health/")) == []
    assert len(logged(exchange("readyz", 503))) == 1
    assert len(logged(exchange("livez"), level="DEBUG")) == 1


async def test_what_is_noted_on_the_way_the_last_line_tells_too():
    with bound(request_id="abc"):
        await asyncio.to_thread(note, training="t")
        assert dict(noted()) == {"request_id": "abc", "training": "t"}
    assert dict(noted()) == {}


def test_a_scope_inside_another_leaves_nothing_there():
    with bound(training="t"):
        with bound(round=1):
            note(task="x")
            assert dict(noted()) == {"training": "t", "round": 1, "task": "x"}
        assert dict(noted()) == {"training": "t"}


def test_outside_of_any_scope_nothing_is_noted():
    note(training="t")
    assert dict(noted()) == {}
