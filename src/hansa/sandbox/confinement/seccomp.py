"""A filter over the kernel's calls: what arithmetic needs is allowed, everything else is answered with an error.

The list is of what is allowed, so that calls of later kernels are refused unknown. The error numbers tell categories
apart (`LIMITS`), because the text of an error is all that a program's failure leaves behind.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from hansa.sandbox.confinement import numbers
from hansa.sandbox.confinement.kernel import is_linux, syscall

FILES_ERROR: Final = errno.EROFS
NETWORK_ERROR: Final = errno.ENETDOWN
PROCESSES_ERROR: Final = errno.ECHILD
LIMITS: Mapping[int, str] = MappingProxyType(
    {
        FILES_ERROR: "files",
        errno.EFBIG: "files",
        NETWORK_ERROR: "network",
        PROCESSES_ERROR: "processes",
        errno.ENOMEM: "memory",
    }
)
"""The limit that an error number stands for, inside a confined process."""

_SECCOMP = {"x86_64": 317, "aarch64": 277}
_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SET_FILTER, _ACTION_AVAILABLE = 1, 2
_ALL_THREADS = 1
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_X32 = 0x40000000

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16

_CLONE_THREAD = 0x00010000
_PR_SET_NAME, _PR_SET_VMA = 15, 0x53564D41
_F_GETFD, _F_GETFL = 1, 3


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def is_available() -> bool:
    """Whether the kernel filters, and this is a machine whose calls are known."""
    if not is_linux() or platform.machine() not in _SECCOMP:
        return False
    action = ctypes.c_uint32(_ERRNO)
    try:
        syscall(_SECCOMP[platform.machine()], ctypes.c_uint(_ACTION_AVAILABLE), ctypes.c_uint(0), ctypes.byref(action))
    except OSError:
        return False
    return True


def restrict() -> None:
    """Filter the calls of all threads from now on. Needs no_new_privs. Raises OSError."""
    code = program(platform.machine(), os.getpid())
    filled = _Program(len(code) // 8, code)
    number = _SECCOMP[platform.machine()]
    thread = syscall(number, ctypes.c_uint(_SET_FILTER), ctypes.c_uint(_ALL_THREADS), ctypes.byref(filled))
    if thread != 0:  # so the kernel tells of a thread that cannot take the filter; then none has
        raise OSError(errno.EBUSY, f"thread {thread} cannot be filtered")


def program(machine: str, pid: int) -> bytes:
    """The filter's instructions for a process that may signal its own threads and no others."""
    column = 0 if machine == "x86_64" else 1
    code = [
        _step(_LOAD, _ARCH),
        _step(_EQUAL, _AUDIT[machine], 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
    ]
    if column == 0:
        code += [_step(_AT_LEAST, _X32, 0, 1), _step(_RETURN, _KILL)]
    for calls, verdict in (
        (numbers.ALLOWED, _ALLOW),
        (numbers.FILES, _ERRNO | FILES_ERROR),
        (numbers.NETWORK, _ERRNO | NETWORK_ERROR),
        (numbers.PROCESSES, _ERRNO | PROCESSES_ERROR),
        (numbers.UNKNOWN, _ERRNO | errno.ENOSYS),
    ):
        for call in (pair[column] for pair in calls.values()):
            if call is not None:
                code += [_step(_EQUAL, call, 0, 1), _step(_RETURN, verdict)]
    code += _with_bits(numbers.CLONE[column], 0, _CLONE_THREAD, PROCESSES_ERROR)
    code += _with_values(numbers.TGKILL[column], 0, (pid,), PROCESSES_ERROR)
    code += _with_values(numbers.PRCTL[column], 0, (_PR_SET_NAME, _PR_SET_VMA), errno.EPERM)
    code += _with_null(numbers.PRLIMIT[column], 2, errno.EPERM)
    code += _with_values(numbers.FCNTL[column], 1, (_F_GETFD, _F_GETFL), errno.EPERM)
    code += [_step(_EQUAL, numbers.IOCTL[column], 0, 1), _step(_RETURN, _ERRNO | errno.ENOTTY)]
    return b"".join([*code, _step(_RETURN, _ERRNO | errno.EPERM)])


def _step(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, operand)


def _low(argument: int) -> int:
    return _ARGUMENTS + 8 * argument


def _for(call: int, body: list[bytes]) -> list[bytes]:
    return [_step(_EQUAL, call, 0, len(body)), *body]


def _with_bits(call: int, argument: int, bits: int, error: int) -> list[bytes]:
    return _for(
        call,
        [
            _step(_LOAD, _low(argument)),
            _step(_ANY_BIT, bits, 0, 1),
            _step(_RETURN, _ALLOW),
            _step(_RETURN, _ERRNO | error),
        ],
    )


def _with_values(call: int, argument: int, values: tuple[int, ...], error: int) -> list[bytes]:
    tests = [each for value in values for each in (_step(_EQUAL, value, 0, 1), _step(_RETURN, _ALLOW))]
    return _for(call, [_step(_LOAD, _low(argument)), *tests, _step(_RETURN, _ERRNO | error)])


def _with_null(call: int, argument: int, error: int) -> list[bytes]:
    """Both halves of the argument are zero."""
    return _for(
        call,
        [
            _step(_LOAD, _low(argument)),
            _step(_EQUAL, 0, 0, 3),
            _step(_LOAD, _low(argument) + 4),
            _step(_EQUAL, 0, 0, 1),
            _step(_RETURN, _ALLOW),
            _step(_RETURN, _ERRNO | error),
        ],
    )
