"""Which step of which trace is being done here: noted for the log, and told to others that are asked for something."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from hansa.server.lifecycle.context import bound
from hansa.tracecontext import Span

_span: ContextVar[Span | None] = ContextVar("hansa_span", default=None)


@contextmanager
def step(span: Span, **noted: object) -> Iterator[None]:
    """What happens inside is this step, and its lines tell so, beside what else is given."""
    token = _span.set(span)
    try:
        with bound(trace_id=span.trace_id, span_id=span.span_id, **noted):
            yield
    finally:
        _span.reset(token)


def passed_on() -> dict[str, str]:
    """The headers with which another server is asked for a part of this step; none outside of one."""
    span = _span.get()
    return {} if span is None else span.headers()
