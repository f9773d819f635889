"""The server's log: lines for people, or one JSON object a line for programs, both with what `context.note` was told.

Modules log by the standard library, `logging.getLogger(__name__)`; the two formatters below make the lines. One record
is one line, whatever is in it: line breaks and control characters of logged values are written as escapes, so that
nobody who sends something to the server can write lines of their own. A traceback's lines stand indented below theirs.
"""

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from hansa.server.config import LogFormat
from hansa.server.lifecycle.context import noted
from hansa.server.lifecycle.observing import Exchange

ACCESS: Final = "hansa.access"
"""The logger of requests."""

_access = logging.getLogger(ACCESS)

_FIELDS: Final = ("method", "route", "status", "ms", "received", "sent")
_FOR_MACHINES: Final = ("trace_id", "span_id")
_QUIET: Final = frozenset({"livez", "readyz", "metrics", "api/health/"})
"""Asked every few seconds by machines: worth a line only when something is wrong."""
_UNSAFE: Final = {
    code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    for code in (
        *range(0x20),
        *range(0x7F, 0xA0),
        0x61C,
        0x200E,
        0x200F,
        *range(0x2028, 0x202F),
        *range(0x2066, 0x206A),
    )
} | {0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t", 0x1B: "\\e"}
"""What would break, hide or reorder a line on a terminal: control characters, line and direction marks."""
_COLOURS: Final = {
    logging.DEBUG: "\x1b[2m",
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[1;31m",
}


def settings(form: LogFormat, level: str, *, access: bool) -> dict[str, Any]:  # Any: logging's own shape
    """Django's LOGGING."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": _formatter, "form": form}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            ACCESS: {"level": level if access else "WARNING"},
            "django.request": {"level": "ERROR"},
            "django.security.DisallowedHost": {"level": "CRITICAL"},  # whoever scans addresses writes no log
            # What these tell below that has values of rows and headers in it: password hashes, credentials.
            "django.db.backends": {"level": "INFO"},
            "httpcore": {"level": "INFO"},
            "_granian": {"level": "WARNING"},
            "asyncio": {"level": "WARNING"},
        },
    }


def request_ended(exchange: Exchange) -> None:
    """A line for the request: at INFO, or DEBUG for what machines ask every few seconds and is well."""
    quiet = exchange.route in _QUIET and exchange.status < 400
    level = logging.DEBUG if quiet else logging.INFO
    if _access.isEnabledFor(level):
        fields = {
            "method": exchange.method,
            "route": exchange.route,
            "status": exchange.status,
            "ms": round(exchange.seconds * 1000, 1),
            "received": exchange.received,
            "sent": exchange.sent,
        }
        _access.log(level, "%s %s: %d", exchange.method, exchange.route, exchange.status, extra=fields)


def _formatter(form: LogFormat) -> logging.Formatter:
    return JSONLines() if form is LogFormat.JSON else ConsoleLines(colours=sys.stderr.isatty())


class JSONLines(logging.Formatter):
    """One object a line, in ASCII: time, level, logger and message first, then whatever is known."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "time": _time(record).isoformat(timespec="microseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_told(record),
        }
        if below := _below(self, record):
            line["exception"] = below
        return json.dumps(line, default=str)


class ConsoleLines(logging.Formatter):
    """A line for people. Ids of traces are left out: they are for machines."""

    def __init__(self, *, colours: bool) -> None:
        super().__init__()
        self._colours = _COLOURS if colours else {}

    def format(self, record: logging.LogRecord) -> str:
        """The line, and a traceback's below it."""
        level = f"{record.levelname:<8}"
        if colour := self._colours.get(record.levelno):
            level = f"{colour}{level}\x1b[0m"
        told = [f"{name}={_value(value)}" for name, value in _told(record).items() if name not in _FOR_MACHINES]
        line = f"{_time(record):%Y-%m-%d %H:%M:%S}Z {level} {record.name}: {plain(record.getMessage())}"
        below = _below(self, record)
        indented = [f"    {plain(each)}" for each in below.split("\n")] if below else []
        return "\n".join([f"{line} [{' '.join(told)}]" if told else line, *indented])


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _told(record: logging.LogRecord) -> Mapping[str, object]:
    """What the record itself brings, and what was noted where it was logged, as far as it is known."""
    own = {name: getattr(record, name) for name in _FIELDS if hasattr(record, name)}
    return {name: value for name, value in {**noted(), **own}.items() if value is not None}


def _below(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """The traceback, the stack, or nothing."""
    trace = formatter.formatException(record.exc_info) if record.exc_info else ""
    return "\n".join(filter(None, (trace, record.stack_info and formatter.formatStack(record.stack_info))))


def plain(text: str) -> str:
    """The text on one line, with nothing in it that a terminal would obey."""
    return text.translate(_UNSAFE)


def _value(value: object) -> str:
    text = plain(str(value))
    return json.dumps(text, ensure_ascii=False) if not text or set(text) & set(' "=[]') else text
