"""Nothing is deleted from the store while it is copied: a lock on its folder, which collection and a backup share.

Collection never waits: while a backup copies there is no collection, and what nobody needs is deleted after it. The
folder itself is locked, and not a file in it: whoever comes first, under whatever user, leaves nothing behind.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCKED = "blobs"


@contextmanager
def held(home: Path) -> Iterator[None]:
    """Between its two ends no file of the store is deleted. Waits, for seconds, for a collection that is under way."""
    with opened(home / LOCKED) as folder:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield


@contextmanager
def collecting(home: Path) -> Iterator[bool]:
    """Whether files may be deleted now; then a backup that begins waits for the end of this."""
    with opened(home / LOCKED) as folder:
        try:
            fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    """A descriptor of a folder, to lock it by."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
