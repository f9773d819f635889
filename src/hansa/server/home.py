"""The data folder `HANSA_HOME`: made on the first start, locked by the one process that serves it."""

import errno
import fcntl
import os
import secrets
from pathlib import Path

from hansa.crashpoints import crash_point
from hansa.server.config import Config, secret_key_file

LOCK = "server.lock"
"""A file in it that the process which serves it holds; written when that process had made what it lacked."""

RESTORING = ".restoring"
"""A folder in it while a backup is being restored: until that is done there is nothing to serve."""

PLACING = ".restoring-database"
"""A file in it while the database is written: of which backup, so that the next try knows what it finds."""

DOUBTED = "doubted"
"""A folder in it: of files that another process has found damaged, for the server to look at."""
FOLDERS = ("blobs", "partial", "tmp", "static", DOUBTED)
DISK_FLOOR = 256 * 2**20
"""Bytes of free room below which a round's uploads may not fit, and neither may the database's log."""


class HomeError(Exception):
    """The data folder cannot be used; the message says what to do."""


def prepare(config: Config) -> None:
    """Make the folder, its subfolders and the secret key. What is there already is left alone.

    Raises HomeError for a folder that cannot be written, a full disk, or a backup that is half restored.
    """
    if (config.home / RESTORING).exists():
        raise HomeError(
            f"A backup was being restored into {config.home}, and that was interrupted. Run that hansa restore again."
        )
    try:
        config.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in FOLDERS:
            (config.home / name).mkdir(exist_ok=True, mode=0o700)
        (config.home / PLACING).unlink(missing_ok=True)
        if not secret_key_file(config.home).exists():
            _write_secret(secret_key_file(config.home))
        _check_writable(config.home)
    except OSError as error:
        raise HomeError(_explain(config.home, error)) from error


def _write_secret(path: Path) -> None:
    """Generated once; written aside and renamed, so that a crash leaves no half of a key."""
    aside = path.with_suffix(".new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(48))
        file.flush()
        os.fsync(descriptor)
    crash_point("home.secret_written")
    aside.replace(path)


def _check_writable(home: Path) -> None:
    probe = home / "tmp" / f".writable-{os.getpid()}"
    try:
        probe.write_bytes(b"x" * 4096)
    finally:
        probe.unlink(missing_ok=True)


def _explain(home: Path, error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"No permission to write in {home}. Give this user the folder, or name another one by HANSA_HOME."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk of {home} is full. Free some space, or name a folder on another disk by HANSA_HOME."
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return f"{home} is not a folder. Name a folder by HANSA_HOME."
    return f"{home} cannot be used: {error.strerror}. Name another folder by HANSA_HOME."


def is_at(descriptor: int, path: Path) -> bool:
    """Whether what was opened is still what has this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


class HomeLock:
    """Held by the process that serves a home; released by the kernel when it ends, however it ends."""

    def __init__(self, home: Path) -> None:
        self._path = home / LOCK

    def __enter__(self) -> "HomeLock":
        """Take the lock. Raises HomeError with the pid of the process that has it."""
        self._lock()
        while not is_at(self._file.fileno(), self._path):
            # A restore that was refused has just deleted it: locked it keeps nobody away who makes another one.
            self._file.close()
            self._lock()
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()
        return self

    def _lock(self) -> None:
        try:
            self._file = self._path.open("a+")
        except OSError as error:
            raise HomeError(_explain(self._path, error)) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            pid = self._file.read().strip() or "unknown"
            self._file.close()
            raise HomeError(
                f"Another server (process {pid}) already serves {self._path.parent}. Stop it first, or name another "
                "folder by HANSA_HOME."
            ) from None
        except OSError as error:
            self._file.close()
            raise HomeError(
                f"{self._path} cannot be locked: {error.strerror}. Use a folder on a local disk."
            ) from error

    def __exit__(self, *exc: object) -> None:
        self._file.close()
