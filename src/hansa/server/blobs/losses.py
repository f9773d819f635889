"""Telling of damaged blobs: each is counted once, and logged at most once a minute, however many ask for it.

A file that is gone is found so by every request for it. The operator needs the first, and how many came since.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from hansa.server import measures

log = logging.getLogger(__name__)

EVERY_SECONDS = 60.0


@dataclass(slots=True)
class _Told:
    at: float
    since: int = 0
    """How often it was found so again, and nothing said."""


class Losses:
    """The blobs that are damaged, as far as this process has found. Of one thread."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._told: dict[str, _Told] = {}

    def found(self, digest: str, seen: str, aside: Path | None) -> None:
        """A blob is damaged; `aside`: where its file was moved to just now."""
        now, before = self._clock(), self._told.get(digest)
        if before is None:
            measures.BLOBS_DAMAGED.inc()
        elif aside is None and now - before.at < EVERY_SECONDS:
            before.since += 1
            return
        again = (
            f" It was found so {before.since} times more since this was last said." if before and before.since else ""
        )
        log.error("Blob %s is damaged: %s.%s%s", digest, seen, f" It is kept as {aside}." if aside else "", again)
        self._told[digest] = _Told(now)

    def over(self, digest: str) -> None:
        """The blob is whole again, or nobody knows it any more: damage from now on is another."""
        self._told.pop(digest, None)


LOSSES = Losses()
"""The process's own."""
