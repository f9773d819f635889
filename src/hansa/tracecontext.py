"""W3C Trace Context, level 1 (https://www.w3.org/TR/trace-context-1/): which request belongs to which piece of work.

    traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
                 version, trace, who asks (the parent), flags

A trace is one piece of work across machines; each step of it is a span. Whoever is asked keeps the trace and gives
itself a new span. What is malformed is as if it had not come: the work begins a trace of its own.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Self

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"

SAMPLED: Final = 1
MOST_MEMBERS: Final = 32
"""Of tracestate: with more, all of it is dropped, as the standard allows."""

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_KEY = r"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
_MEMBER = re.compile(rf"({_KEY})=([ -+\--<>-~]{{0,255}}[!-+\--<>-~])")


# A generator of our own: asking the system costs as much as all else of a span, and whoever seeds Python's own to make
# a training repeatable would repeat these. A forked child would go on with its parent's.
_ids = Random()  # noqa: S311  # ids are no secrets
os.register_at_fork(after_in_child=_ids.seed)


@dataclass(frozen=True, slots=True)
class Span:
    """One step of a trace."""

    trace_id: str
    """32 lower-case hex digits, not all of them zero."""
    span_id: str
    """16 of them."""
    flags: int = 0
    """Of those defined so far: SAMPLED, somebody may have recorded it."""
    state: str = ""
    """What tracing systems on the way have added, passed on as it came."""

    @classmethod
    def root(cls, trace_id: str = "") -> Self:
        """The first step of a new trace, or of the trace with this id."""
        return cls(trace_id or new_id(32), new_id(16))

    def child(self) -> "Span":
        """The next step of the same trace."""
        return Span(self.trace_id, new_id(16), self.flags, self.state)

    def headers(self) -> dict[str, str]:
        """With which the next one is asked."""
        sent = {TRACEPARENT: f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"}
        return {**sent, TRACESTATE: self.state} if self.state else sent


def new_id(digits: int) -> str:
    """So many lower-case hex digits, not all of them zero: unlike any other, and no secret."""
    return f"{_ids.getrandbits(4 * digits) or 1:0{digits}x}"


def received(traceparents: Sequence[str], tracestates: Sequence[str] = ()) -> Span | None:
    """The step that asks, from all values of either header; None if there is none, or it is malformed.

    >>> received(["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"], ["rojo=1, congo=2"])
    Span(trace_id='4bf92f3577b34da6a3ce929d0e0e4736', span_id='00f067aa0ba902b7', flags=1, state='rojo=1,congo=2')
    >>> received(["00-00000000000000000000000000000000-00f067aa0ba902b7-01"]) is None
    True
    """
    match = _TRACEPARENT.fullmatch(traceparents[0].strip(" \t")) if len(traceparents) == 1 else None
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    # Later versions may add something behind another dash; ff is none, and 00 has nothing more.
    if version == "ff" or (version == "00" and more) or not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return Span(trace_id, span_id, int(flags, 16) & SAMPLED, _state(",".join(tracestates)))


def _state(text: str) -> str:
    """The members as they came, without the space between them; all or nothing."""
    if not text:
        return ""
    members = [member for part in text.split(",") if (member := part.strip(" \t"))]
    matches = [_MEMBER.fullmatch(member) for member in members]
    keys = {match[1] for match in matches if match is not None}
    return ",".join(members) if len(keys) == len(members) <= MOST_MEMBERS else ""
