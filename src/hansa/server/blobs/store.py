"""The folder of blobs: `blobs/ab/cd/<sha256>`, uploads in progress in `partial/`, new files in `tmp/`.

A blob appears by renaming a complete, fsynced file, and the folder is fsynced after it: a crash at any instant leaves
either the whole blob or none. The row that points to it is written afterwards, under the same per-digest lock
(`lock`) that collection takes.
"""

import asyncio
import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import local
from weakref import WeakValueDictionary

from django.conf import settings

from hansa.server.blobs.digests import BLOCK, CHECKSUM_BYTES, Digester, Digests, block_checksum

_locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
_durable_folders: set[Path] = set()


class TornBlobError(Exception):
    """A blob's bytes are not those that were stored, or are gone."""

    def __init__(self, digest: str, seen: str) -> None:
        super().__init__(f"Blob {digest} is damaged: {seen}.")
        self.digest = digest
        self.seen = seen


def lock(digest: str) -> asyncio.Lock:
    """Held from placing a blob's file until its row is written, and while a blob is collected."""
    return _locks.setdefault(digest, asyncio.Lock())


def home() -> Path:
    """The data folder."""
    path: Path = settings.CONFIG.home
    return path


def path_of(digest: str) -> Path:
    """Where a blob's file is, whether or not it exists."""
    return home() / "blobs" / digest[:2] / digest[2:4] / digest


def partial_path(task_id: uuid.UUID, digest: str) -> Path:
    """Where an upload in progress is."""
    return home() / "partial" / f"{task_id}-{digest}"


def new_file() -> Path:
    """A name for a file that will become a blob."""
    folder = home() / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / uuid.uuid4().hex


def place(file: Path, digest: str) -> None:
    """Move a complete, fsynced file to its place under its digest, durably.

    A blob that is there already is replaced: the bytes are the same, unless it was damaged, and then this heals it.
    """
    target = path_of(digest)
    _ensure_durable(target.parent.parent)
    _ensure_durable(target.parent)
    file.replace(target)
    fsync_folder(target.parent)


def _ensure_durable(folder: Path) -> None:
    """Make a folder, and its entry in its parent durable, before anything in it is promised to anybody.

    Without a lock: the disk is waited for. Two who need a folder at once both flush its parent.
    """
    if folder not in _durable_folders or not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        fsync_folder(folder.parent)
        _durable_folders.add(folder)


def remove(digest: str) -> None:
    """Delete a blob's file. Only after its row is gone, and under its lock."""
    path_of(digest).unlink(missing_ok=True)


def files() -> Iterator[Path]:
    """All files in the store."""
    return (home() / "blobs").glob("??/??/*")


def fsync_folder(folder: Path) -> None:
    """Make renames in the folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class BlobFile:
    """A new blob, written from front to back; `finish` makes it durable. Not finished, it leaves nothing behind."""

    def __init__(self) -> None:
        self.path = new_file()
        self._digester = Digester()
        self._file = self.path.open("xb", buffering=0)

    def __enter__(self) -> "BlobFile":
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()
        if exc[0] is not None:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes."""
        self._digester.update(data)
        write_all(self._file.fileno(), data)

    def finish(self) -> Digests:
        """Flush to the disk. The file still has to be `place`d."""
        os.fsync(self._file.fileno())
        return self._digester.digests()


def digested(path: Path) -> Digests:
    """Make a complete file durable, so that it can be `place`d, and return its digests."""
    digester = Digester()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(BLOCK):
            digester.update(piece)
        os.fsync(file.fileno())
    return digester.digests()


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write every byte; a short write on a nearly full disk is continued until the disk says so."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class _Parted(local):
    """One thread's room for a block of which only a part is wanted, and whose block is in it."""

    def __init__(self) -> None:
        self.block = bytearray(BLOCK)
        self.held: tuple[CheckedBlob, int] | None = None


_PARTED = _Parted()


class CheckedBlob:
    """Reads of a blob at any offset, each block compared with the checksum that was recorded when it was stored.

    Opening it raises TornBlobError where there is no file.
    """

    def __init__(self, digest: str, checksums: bytes, size: int) -> None:
        self._digest = digest
        self._checksums = checksums
        self._size = size
        self._position = 0
        try:
            self._descriptor = os.open(path_of(digest), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise TornBlobError(digest, "its file is not in the store") from error

    def close(self) -> None:
        """Give the file descriptor back."""
        os.close(self._descriptor)
        _PARTED.held = None

    def __enter__(self) -> "CheckedBlob":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def read_into(self, offset: int, view: memoryview) -> None:
        """Fill `view` from `offset`. Raises TornBlobError if a block it touches is not what was stored."""
        position = offset
        while len(view):
            number, skip = divmod(position, BLOCK)
            wanted = min(BLOCK - skip, len(view))
            self._block_into(number, skip, view[:wanted])
            position += wanted
            view = view[wanted:]

    def read(self, size: int, /) -> bytes:
        """The next `size` bytes, from the first on: as those who read headers read a file."""
        data = bytearray(size)
        self.read_into(self._position, memoryview(data))
        self._position += size
        return bytes(data)

    def block(self, number: int) -> bytes:
        """One block, the last one as long as it is. Raises TornBlobError."""
        length = self._length_of(number)
        with self._readable(number):
            block = os.pread(self._descriptor, length, number * BLOCK)
        self._compare(number, block, length)
        return block

    def _length_of(self, number: int) -> int:
        return min(BLOCK, self._size - number * BLOCK)

    def _block_into(self, number: int, skip: int, view: memoryview) -> None:
        if skip or len(view) != self._length_of(number):
            view[:] = self._whole(number)[skip : skip + len(view)]
        else:
            self._read_whole(number, view)

    def _read_whole(self, number: int, view: memoryview) -> None:
        with self._readable(number):
            read = os.preadv(self._descriptor, [view], number * BLOCK)
        self._compare(number, view[:read], len(view))

    def _whole(self, number: int) -> memoryview:
        """A block of which a part is wanted; whoever reads on in it finds it here."""
        view, held = memoryview(_PARTED.block)[: self._length_of(number)], (self, number)
        if _PARTED.held != held:
            _PARTED.held = None  # should reading fail
            self._read_whole(number, view)
            _PARTED.held = held
        return view

    @contextmanager
    def _readable(self, number: int) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            raise TornBlobError(self._digest, f"the disk does not give block {number} ({error.strerror})") from error

    def _compare(self, number: int, block: bytes | memoryview, length: int) -> None:
        recorded = self._checksums[number * CHECKSUM_BYTES : (number + 1) * CHECKSUM_BYTES]
        if len(block) == length and block_checksum(block) == recorded:
            return
        wrong = "does not match its checksum" if len(block) == length else "is cut off"
        raise TornBlobError(self._digest, f"block {number} ({length:,} bytes from {number * BLOCK:,}) {wrong}")
