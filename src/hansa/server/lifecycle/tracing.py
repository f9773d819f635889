"""Which step of which trace is being done here: noted for the log, and told to others that are asked for something."""

from contextvars import ContextVar, Token
from typing import Self

from hansa.server.lifecycle.context import Scope
from hansa.tracecontext import Span

_span: ContextVar[Span | None] = ContextVar("hansa_span", default=None)


class Step(Scope):
    """Made by `step`: a scope of the log that is a step of a trace as well."""

    __slots__ = ("_before", "_span")

    def __init__(self, span: Span, noted: dict[str, object]) -> None:
        super().__init__({**noted, "trace_id": span.trace_id, "span_id": span.span_id})
        self._span = span
        self._before: Token[Span | None] | None = None

    def __enter__(self) -> Self:
        self._before = _span.set(self._span)
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        if self._before is not None:
            _span.reset(self._before)


def step(span: Span, **noted: object) -> Step:
    """What happens inside the `with` is this step, and its lines tell so, beside what else is given."""
    return Step(span, noted)


def passed_on() -> dict[str, str]:
    """The headers with which another server is asked for a part of this step; none outside of one."""
    span = _span.get()
    return {} if span is None else span.headers()
