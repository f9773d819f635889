"""How much of callers' inputs the process holds at once: what does not fit is refused before it is read."""

from collections.abc import Iterator
from contextlib import contextmanager

from hansa.server.inference.errors import OverloadedError


class Room:
    """So many bytes. On one event loop."""

    def __init__(self) -> None:
        self._taken = 0

    @contextmanager
    def taken(self, size: int, *, of: int) -> Iterator[None]:
        """Have `size` bytes of the `of` there are, for as long as this lasts. Whoever is alone always has room.

        Raises OverloadedError.
        """
        if self._taken and self._taken + size > of:
            raise OverloadedError(
                f"Inputs of {self._taken:,} bytes are being answered, all that has room. Ask again in a moment."
            )
        self._taken += size
        try:
            yield
        finally:
            self._taken -= size


ROOM = Room()
