"""Where a download lands: a file, written and hashed on a thread of its own while the next bytes come."""

import hashlib
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import BinaryIO

from hansa.writeback import Writeback

BLOCK = 1 << 20
AHEAD = 2
"""Blocks that have come and are not written yet; with the one that is being gathered, three mebibytes. They are used
again and again: the system clears each page of new memory, which takes longer than to write it.
"""


class Landing:
    """A file that grows to a model, and the SHA-256 of what is in it.

    Leave it as a context: whatever has come is then in the file, also where the line broke, and the thread has ended.
    What writing raises is raised by the next call.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha = hashlib.sha256()
        self._free = deque(bytearray(BLOCK) for _ in range(AHEAD + 1))
        self._filled = 0
        """Of the block that is being gathered, the first that is free."""
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="hansa-landing")
        self._pending: deque[Future[object]] = deque()
        self.size = file.seek(0, os.SEEK_END)
        """Bytes that are here, written or not."""
        self._writeback = Writeback(file.fileno(), start=self.size)
        if self.size:
            self._later(self._hash_file)

    def __enter__(self) -> "Landing":
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            if exc[0] is not None:
                self._written()
        finally:
            self._pool.shutdown()

    def restart(self) -> None:
        """Nothing that is here is wanted."""
        self._wait()
        self._filled = 0
        self._file.seek(0)
        self._file.truncate()
        self._sha, self.size, self._writeback = hashlib.sha256(), 0, Writeback(self._file.fileno())

    def take(self, data: bytes) -> None:
        """The next bytes."""
        self.size += len(data)
        view = memoryview(data)
        while view:
            taken = view[: BLOCK - self._filled]
            self._free[0][self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            view = view[len(taken) :]
            if self._filled == BLOCK:
                self._hand_on()

    def finish(self, *, sync: bool) -> str:
        """The SHA-256 of the whole, which is in the file; `sync`: on the disk."""
        self._written()
        self._file.flush()
        if sync:
            os.fsync(self._file.fileno())
        return self._sha.hexdigest()

    def _written(self) -> None:
        self._hand_on()
        self._wait()

    def _hand_on(self) -> None:
        if self._filled:
            self._later(partial(self._write, self._free[0], self._filled))
            self._free.rotate(-1)  # with at most AHEAD waiting, the next was written before this call returned
            self._filled = 0

    def _later(self, work: Callable[[], object]) -> None:
        while len(self._pending) >= AHEAD:
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(work))

    def _wait(self) -> None:
        while self._pending:
            self._pending.popleft().result()

    def _write(self, block: bytearray, size: int) -> None:
        view = memoryview(block)[:size]
        self._file.write(view)
        self._writeback.wrote(size)
        self._sha.update(view)

    def _hash_file(self) -> None:
        self._file.seek(0)
        while block := self._file.read(BLOCK):
            self._sha.update(block)
        self._file.seek(0, os.SEEK_END)
