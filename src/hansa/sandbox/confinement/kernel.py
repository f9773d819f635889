"""Calls of the kernel that Python has no function for."""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38

_libc = ctypes.CDLL(None, use_errno=True)


def is_linux() -> bool:
    """Whether there is a kernel to ask."""
    return sys.platform == "linux"


def syscall(number: int, *arguments: object) -> int:
    """The answer of the kernel. Raises OSError."""
    answer: int = _libc.syscall(ctypes.c_long(number), *arguments)
    if answer < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return answer


def prctl(option: int, value: int) -> None:
    """Change a property of the process. Raises OSError."""
    arguments = (ctypes.c_ulong(each) for each in (value, 0, 0, 0))
    if _libc.prctl(ctypes.c_int(option), *arguments) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def die_with(parent: int) -> None:
    """End with the parent, also where it has ended before this was called."""
    prctl(PR_SET_PDEATHSIG, 9)
    if os.getppid() != parent:
        os._exit(0)
