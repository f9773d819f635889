"""Where a backup is made: a folder beside the place it will have, which one process at a time works in."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hansa.server.backup import manifest
from hansa.server.backup.manifest import BackupError
from hansa.server.blobs.holding import opened
from hansa.server.home import is_at

MARK = ".unfinished-backup"
"""In a folder that is being written, with the process that writes it; what has it may be emptied by the next try."""


@contextmanager
def workplace(target: Path) -> Iterator[Path]:
    """An empty folder beside `target`, this process's own until it ends. Raises BackupError.

    What an interrupted try has left is deleted. The folder itself is locked: the lock goes with it when it is renamed.
    """
    aside = target.with_name(f"{target.name}.unfinished")
    _make(aside)
    with opened(aside) as folder:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(
                f"{_owner(aside)} makes a backup in {aside} now. Wait for its end, or name another folder."
            ) from None
        if not is_at(folder, aside):
            raise BackupError(f"Another process has just made the backup {target}. Name a new folder for another one.")
        _empty(aside)
        (aside / MARK).write_text(str(os.getpid()))
        yield aside


def _make(aside: Path) -> None:
    try:
        aside.mkdir(parents=True, mode=0o700)
    except FileExistsError:
        if not aside.is_dir():
            raise BackupError(f"{aside} is in the way. Move it, or name another folder.") from None


def _owner(aside: Path) -> str:
    try:
        return f"Process {int((aside / MARK).read_text())}"
    except (OSError, ValueError):  # it has only just begun, or is about to end
        return "Another process"


def _empty(aside: Path) -> None:
    names = {path.name for path in aside.iterdir()}
    if names and not names & {MARK, manifest.NAME}:
        raise BackupError(f"{aside} is in the way, and not of a backup. Move it, or name another folder.")
    for name in sorted(names, key=(MARK, manifest.NAME).__contains__):  # what says that it may be emptied goes last
        path = aside / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
