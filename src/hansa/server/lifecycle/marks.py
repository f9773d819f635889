"""The coroutine mark on `dispatch`: decorators look at it, and `as_view` copies it onto the view function."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from asgiref.sync import markcoroutinefunction

from hansa.server.lifecycle.in_place import is_async

ViewClass = Any
"""A view class; its `dispatch` is replaced here, which no type allows."""


class DispatchMark:
    """A plain `dispatch` that may give something to await, and the same with the mark of a coroutine function."""

    def __init__(self, plain: Callable[..., Any]) -> None:  # Any: a view's
        self._plain = plain

        @wraps(plain)
        def marked(*args: Any, **kwargs: Any) -> Any:  # Any: as above
            return plain(*args, **kwargs)

        del marked.__wrapped__  # `as_view` copies attributes onto the view, which wraps nothing
        self._marked = markcoroutinefunction(marked)

    def put_on(self, cls: ViewClass) -> None:
        """Mark a class whose requests are awaited, unless it has a `dispatch` of its own."""
        if cls.dispatch is self._plain:
            cls.dispatch = self._marked

    def is_decorated(self, cls: ViewClass) -> bool:
        """Whether somebody has taken `dispatch` for a coroutine function, and made one of it."""
        return is_async(cls.dispatch) and cls.dispatch is not self._marked

    @contextmanager
    def taken_off(self, cls: ViewClass, *, unless: bool) -> Iterator[None]:
        """Let `as_view` see the plain one: for a plain route of a class that has awaited ones too."""
        if unless or cls.dispatch is not self._marked:
            yield
            return
        is_own = "dispatch" in vars(cls)
        cls.dispatch = self._plain
        try:
            yield
        finally:
            if is_own:
                cls.dispatch = self._marked
            else:
                del cls.dispatch
