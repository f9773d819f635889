"""What a process may use: memory, time of processors, files."""

import os
import resource
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one process."""

    memory: int = 2 * 2**30
    """Bytes of addresses beyond those that it had when it was confined."""
    cpu_seconds: int = 60
    open_files: int = 64


def restrict(limits: Limits) -> None:
    """Set the limits for good; nothing can be written to a file at all."""
    _set(resource.RLIMIT_AS, _addresses() + limits.memory)
    _set(resource.RLIMIT_CPU, limits.cpu_seconds)
    _set(resource.RLIMIT_NOFILE, limits.open_files)
    _set(resource.RLIMIT_FSIZE, 0)
    _set(resource.RLIMIT_CORE, 0)


def _set(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def _addresses() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
