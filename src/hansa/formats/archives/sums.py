"""Checksums of storages, compared while they are read for their numbers.

A storage that is read from front to back is summed up on the way. One that is read through strides, in pieces or out
of order is read once more, whole, before its first number is given out. Not safe for use by several threads.
"""

import zlib

from hansa.formats.archives.entries import damaged
from hansa.formats.archives.zipdirectory import Entry
from hansa.formats.chunks import Source

PIECE = 2**20


class Checksums:
    """What is known of the storages of one archive. Both methods raise BadModelFileError for a damaged one."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._checked: set[str] = set()
        self._running: dict[str, tuple[int, int]] = {}

    def passed(self, entry: Entry, start: int, view: memoryview) -> None:
        """The bytes of the entry from `start` on were read, and are these."""
        if entry.name in self._checked:
            return
        at, crc = self._running.get(entry.name, (0, 0))
        if start != at:
            self.check(entry)
            return
        at, crc = at + len(view), zlib.crc32(view, crc)
        self._running[entry.name] = at, crc
        if at >= entry.size:
            self._compare(entry, crc)

    def check(self, entry: Entry) -> None:
        """Read all of the entry, unless that was done before."""
        if entry.name in self._checked:
            return
        piece, crc = memoryview(bytearray(min(PIECE, entry.size))), 0
        for start in range(0, entry.size, PIECE):
            view = piece[: min(PIECE, entry.size - start)]
            self._source.read_into(entry.start + start, view)
            crc = zlib.crc32(view, crc)
        self._compare(entry, crc)

    def _compare(self, entry: Entry, crc: int) -> None:
        if crc != entry.crc:
            raise damaged(entry)
        self._running.pop(entry.name, None)
        self._checked.add(entry.name)
