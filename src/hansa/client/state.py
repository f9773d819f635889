"""The folder in which a client keeps what a restart must not lose, for one process at a time.

    lock        held while a client runs; holds its process id
    instance    names this folder to the server, made once
    tasks/      what was computed and not yet delivered, a folder for each server and user (`journal`)
    params/     the newest model versions (`cache`)

No credentials are ever written here.
"""

import fcntl
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4
from weakref import WeakSet

from hansa.client import durable
from hansa.client.address import folder_name
from hansa.client.errors import StateFolderBusy, UsageError

INSTANCE = re.compile(r"[0-9a-zA-Z-]{1,64}")


def default_folder(url: str, token: str, environ: Mapping[str, str] = os.environ) -> Path:
    """A folder of its own for each server and token, below XDG_STATE_HOME or ~/.local/state."""
    try:
        base = environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    except RuntimeError as error:  # neither HOME nor an entry in the password database, as in some containers
        raise UsageError("there is no home folder to keep the client's state in. Name a folder (--state).") from error
    return Path(base) / "hansa" / folder_name(url, token)


class StateFolder:
    """A locked state folder; leaving the `with` unlocks it.

    Raises StateFolderBusy if another client works in it (another process, or another thread of this one), and
    UsageError if it cannot be made or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UsageError(
                f"the state folder {path} cannot be used: {error.strerror}. Make it writable or name another (--state)."
            ) from error
        _open_folders.add(self)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._lock, 20, 0).decode(errors="replace").strip() or "unknown"
            self.close()
            raise StateFolderBusy(
                f"another client works in the state folder {path} (process {holder}). End that one, or name another "
                "folder for this one (--state): two clients with one folder would undo each other's work."
            ) from error
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
        self.instance = self._instance()

    def _instance(self) -> str:
        path = self.path / "instance"
        if path.exists() and INSTANCE.fullmatch(name := path.read_text(errors="replace").strip()):
            return name
        name = str(uuid4())
        durable.replace(path, f"{name}\n".encode())
        return name

    def close(self) -> None:
        """Unlock. The lock file stays: to remove it would let two processes each lock a file of that name."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_open_folders: WeakSet[StateFolder] = WeakSet()


def _close_in_child() -> None:
    """A forked child (a data loader's worker) shares the lock, and would keep it after its parent was killed."""
    for folder in list(_open_folders):
        folder.close()


os.register_at_fork(after_in_child=_close_in_child)
