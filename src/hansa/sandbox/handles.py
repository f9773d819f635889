"""A cell as the server holds it: the socket to ask it by, and what tells and brings about its end."""

import os
import signal
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hansa.sandbox.messages import Call

Key = tuple[object, ...]


def key_of(call: Call) -> Key:
    """What a cell is bound to for life: memory that one program has let go, another may read."""
    return call.programs, call.preprocessing, call.moments


@dataclass(slots=True, eq=False)
class Cell:
    """Asked for one key for its whole life."""

    pid: int
    sock: socket.socket
    pidfd: int
    fate: int
    """A pipe, on which the nursery tells how it ended."""
    nursery: int
    """The number of its process. It ends with it."""
    holds: Key | None = None
    busy: float = 0.0
    """Seconds of wall clock in calls."""
    used: float = field(default_factory=time.monotonic)
    size: int = 0
    """Bytes of memory that it had when it was last measured."""

    def is_waiting(self) -> bool:
        """Whether it lives, and has said nothing unasked."""
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        return False

    def kill(self) -> None:
        """Whatever it does. One that is ending already keeps its status."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def end(self) -> None:
        """Kill it, and forget it."""
        try:
            self.kill()
        finally:
            os.close(self.pidfd)
            os.close(self.fate)
            self.sock.close()


def private_bytes(pid: int) -> int:
    """Memory of a process that is no file's; 0 if it has gone."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")
