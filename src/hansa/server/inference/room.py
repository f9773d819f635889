"""How much of callers' inputs the process holds at once, and one user of it: what does not fit is refused unread."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from hansa.server.inference.errors import OverloadedError

ROOMS = 4
"""Inputs of the largest size that are held at once."""


class Room:
    """So many bytes. On one event loop."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    @contextmanager
    def taken(self, size: int, who: str, *, of: int) -> Iterator[None]:
        """Have `size` bytes of the `of` there are, for as long as this lasts.

        Who has none has room while anything is left; who has some gets half of it all, so that one user's slow or
        many questions keep nobody else out. Raises OverloadedError.
        """
        everything, own = self._taken.total(), self._taken[who]
        if everything and everything + size > of:
            raise OverloadedError(
                f"Inputs of {everything:,} bytes are being answered, all that has room. Ask again in a moment."
            )
        if own and own + size > of // 2:
            raise OverloadedError(
                f"Inputs of {own:,} bytes are being answered for you already, and at most {of // 2:,} at once. "
                "Wait for an answer, then ask again."
            )
        self._taken[who] += size
        try:
            yield
        finally:
            self._taken[who] -= size
            self._taken += Counter()  # keeps those above zero


ROOM = Room()
