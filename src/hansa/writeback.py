"""Files that grow to gigabytes: have the disk begin to write what is there, so that syncing the end has little left.

The system itself begins late, a tenth of the memory or half a minute later: then fsync waits for the whole file, after
everything else is done. Begun early, it is written while the next bytes come and are hashed.
"""

import os

STEP = 8 * 2**20
"""Bytes that are told of at once: fewer cost more calls, more leave more to wait for."""


class Writeback:
    """One file that is appended to. Nothing is promised of it: only fsync does that."""

    def __init__(self, descriptor: int, *, start: int = 0) -> None:
        self._descriptor = descriptor
        self._begun = self._end = start

    def wrote(self, size: int) -> None:
        """So many bytes were appended."""
        self._end += size
        if self._end - self._begun >= STEP:
            _begin(self._descriptor, self._begun, self._end - self._begun)
            self._begun = self._end


def _begin(descriptor: int, offset: int, size: int) -> None:
    """Linux begins to write what is dirty there, and keeps it in memory, for it drops what is clean alone."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, offset, size, os.POSIX_FADV_DONTNEED)
