"""Checking updates while they come, beside their receipt: a few at once, and only of clients that are quick.

Each that is followed has a megabyte of memory. The others are checked when all of them is there, and with the same
result.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from hansa.server.lifecycle.bridge import compute
from hansa.server.trainings.approval import Checking

AT_ONCE = 8
STEP = 4 * 2**20
"""Bytes that are looked at in one go: what a check opens, it opens for each."""


class Following:
    """The check of one update."""

    def __init__(self, checking: Checking) -> None:
        self._checking: Checking | None = checking
        self._seen = 0
        self._looking: asyncio.Task[None] | None = None

    def arrived(self, size: int) -> None:
        """So many bytes are in the file. Looked at on another thread, while more comes."""
        if self._checking is None or size < self._seen + STEP:
            return
        if self._looking is None or self._looking.done():
            self._seen = size
            self._looking = asyncio.create_task(self._look(self._checking, size))

    async def _look(self, checking: Checking, size: int) -> None:
        try:
            await compute(checking.advance, size)
        except Exception:  # noqa: BLE001  # whatever is wrong is found again, when the digest tells that it is the file
            self._checking = None

    def give_up(self) -> None:
        """The client is slow: nothing is held for it."""
        self._checking = None

    async def begun(self) -> Checking | None:
        """What there is of a check, when nobody works at it any more; None: there is none."""
        if self._looking is not None:
            await asyncio.wait([self._looking])
        return self._checking


@contextmanager
def following(checking: Checking) -> Iterator[Following]:
    """Follow the update, if there is room for one more."""
    followed = Following(checking)
    if len(_followed) >= AT_ONCE:
        followed.give_up()
    else:
        _followed.add(followed)
    try:
        yield followed
    finally:
        _followed.discard(followed)


_followed: set[Following] = set()
