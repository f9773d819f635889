"""Nothing is deleted from the store while it is copied: a lock on a file, which collection and a backup share.

Collection never waits: while a backup copies there is no collection, and what nobody needs is deleted after it.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = "collection.lock"


@contextmanager
def held(home: Path) -> Iterator[None]:
    """Between its two ends no file of the store is deleted. Waits, for seconds, for a collection that is under way."""
    with (home / LOCK).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def collecting(home: Path) -> Iterator[bool]:
    """Whether files may be deleted now; then a backup that begins waits for the end of this."""
    with (home / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
