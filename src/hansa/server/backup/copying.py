"""Copying a file durably, and knowing while it is copied what it is."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from hansa.server.blobs.store import fsync_folder

PIECE = 2**20
Progress = Callable[[int, int], object]
"""Told how many bytes of how many are done."""


def copied(source: Path, target: Path, heard: Callable[[int], object]) -> str:
    """Copy, and return the SHA-256 of what was copied; `heard` is told of the bytes. Mode 0600."""
    digest = hashlib.sha256()
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with source.open("rb", buffering=0) as read, os.fdopen(_new(target), "wb", buffering=0) as write:
        while piece := read.read(PIECE):
            digest.update(piece)
            view = memoryview(piece)
            while view:
                view = view[write.write(view) :]
            heard(len(piece))
        os.fsync(write.fileno())
    return digest.hexdigest()


def linked(source: Path, target: Path, heard: Callable[[int], object]) -> str:
    """As `copied`, by a second name of the same file: no room is needed, and damage to one is damage to both."""
    digest = hashlib.sha256()
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    target.hardlink_to(source)
    with target.open("rb", buffering=0) as read:
        while piece := read.read(PIECE):
            digest.update(piece)
            heard(len(piece))
    return digest.hexdigest()


def _new(target: Path) -> int:
    return os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def place_of(folder: Path, digest: str) -> Path:
    """Where a blob lies, in a backup as in a home."""
    return folder / "blobs" / digest[:2] / digest[2:4] / digest


class Counter:
    """Adds up the bytes of many files for one progress."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._total = total
        self._progress = progress
        self._done = 0

    def __call__(self, size: int) -> None:
        """So many more."""
        self._done += size
        self._progress(self._done, self._total)


def sync_folders(folder: Path) -> None:
    """Make the names of all files below a folder durable."""
    for path in [folder, *(each for each in folder.rglob("*") if each.is_dir())]:
        fsync_folder(path)
