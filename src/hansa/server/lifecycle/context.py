"""What lines of the log tell beside their message: which request, whose, about what.

    with bound(training=training_id):     everything logged inside tells it
        note(round=3)                     from here on to the end of the innermost `with`

A scope belongs to its request or piece of work, wherever that goes: what a service notes on the writer thread, the
request's own last line tells too.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_scope: ContextVar[dict[str, object] | None] = ContextVar("hansa_log_context", default=None)


@contextmanager
def bound(**values: object) -> Iterator[None]:
    """A scope inside the present one, with these values."""
    token = _scope.set({**(_scope.get() or {}), **values})
    try:
        yield
    finally:
        _scope.reset(token)


def note(**values: object) -> None:
    """Add to the innermost scope; without one nothing happens, as in a command."""
    scope = _scope.get()
    if scope is not None:
        scope.update(values)


def noted() -> Mapping[str, object]:
    """What a line that is logged now tells."""
    return _scope.get() or {}
