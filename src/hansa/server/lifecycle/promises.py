"""Checks that were called on the event loop and have not happened yet."""

from collections.abc import Coroutine, Generator
from typing import Any


class UnawaitedError(RuntimeError):
    """A check was called in an `async def` handler and not awaited: it did not happen, so there is no answer."""

    def __init__(self, name: str) -> None:
        super().__init__(f"self.{name}() was called on the event loop without `await`; nothing was checked.")


class Promise:
    """A check that has not happened yet: it must be awaited, or the request fails."""

    def __init__(self, name: str, coroutine: Coroutine[Any, Any, None], unawaited: "set[Promise]") -> None:
        self.name = name
        self._coroutine = coroutine
        self._unawaited = unawaited

    def __await__(self) -> Generator[Any, Any, None]:  # Any: the loop's own
        self._unawaited.discard(self)
        # Not the coroutine's own iterator: it would outlive this object, which closes the coroutine when it goes.
        yield from self._coroutine.__await__()

    def __del__(self) -> None:
        self._coroutine.close()
