"""What a process may use: memory, time of processors, files."""

import os
import resource
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

THREADS: Final = 1024
"""Of all cells together. Long before it, the addresses of their stacks reach the limit of a cell's memory."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one process."""

    memory: int = 2 * 2**30
    """Bytes of addresses beyond those that it had when it was confined."""
    cpu_seconds: int = 60
    open_files: int = 256
    """Those of a call, which come open, and a few of its own."""


def restrict(limits: Limits) -> None:
    """Set the limits for good; nothing can be written to a file at all.

    Where the machine itself runs out of memory, the kernel ends this process before all others.
    """
    with suppress(OSError):  # not in some containers: the kernel then chooses by size
        Path("/proc/self/oom_score_adj").write_text("1000")
    _set(resource.RLIMIT_AS, _addresses() + limits.memory)
    _set(resource.RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds + 1)  # a signal that tells why, and then the end
    if os.geteuid() == 0:  # who becomes nobody: the kernel counts all threads of a user, and nobody has few others
        _set(resource.RLIMIT_NPROC, THREADS)
    _set(resource.RLIMIT_NOFILE, limits.open_files)
    _set(resource.RLIMIT_FSIZE, 0)
    _set(resource.RLIMIT_CORE, 0)


def _set(kind: int, soft: int, last: int | None = None) -> None:
    _, hard = resource.getrlimit(kind)
    most = soft if last is None else last
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (min(soft, most), most))


def _addresses() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
