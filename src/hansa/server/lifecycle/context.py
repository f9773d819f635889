"""What lines of the log tell beside their message: which request, whose, about what.

    with bound(training=training_id):     everything logged inside tells it
        note(round=3)                     from here on to the end of the innermost `with`

A scope belongs to its request or piece of work, wherever that goes: what a service notes on the writer thread, the
request's own last line tells too.
"""

from collections.abc import Mapping
from contextvars import ContextVar, Token
from typing import Self

_scope: ContextVar[dict[str, object] | None] = ContextVar("hansa_log_context", default=None)


class Scope:
    """Made by `bound`. A class, and no generator: every request enters one."""

    __slots__ = ("_token", "_values")

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values
        self._token: Token[dict[str, object] | None] | None = None

    def __enter__(self) -> Self:
        self._token = _scope.set({**(_scope.get() or {}), **self._values})
        return self

    def __exit__(self, *error: object) -> None:
        if self._token is not None:
            _scope.reset(self._token)


def bound(**values: object) -> Scope:
    """A scope inside the present one, with these values, for a `with`."""
    return Scope(values)


def note(**values: object) -> None:
    """Add to the innermost scope; without one nothing happens, as in a command."""
    scope = _scope.get()
    if scope is not None:
        scope.update(values)


def noted() -> Mapping[str, object]:
    """What a line that is logged now tells."""
    return _scope.get() or {}
