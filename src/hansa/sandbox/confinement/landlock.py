"""Landlock: a process takes from itself, for good, every right to open a file by a path and to use TCP.

The kernel's rules: https://docs.kernel.org/userspace-api/landlock.html. A right that a kernel does not know yet cannot
be taken; what it would have closed, seccomp closes.
"""

import ctypes
import os

from hansa.sandbox.confinement.kernel import is_linux, syscall

_CREATE_RULESET = 444
_RESTRICT_SELF = 446
_ASK_VERSION = 1

_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}
"""How many rights over files there are, from which version of the interface on."""
_NETWORK_SINCE, _NETWORK_RIGHTS = 4, 0b11
_SCOPES_SINCE, _SCOPES = 6, 0b11


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


def version() -> int:
    """Of the kernel's interface; 0 where there is none."""
    if not is_linux():
        return 0
    try:
        return syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION))
    except OSError:
        return 0


def restrict() -> None:
    """Allow nothing. Needs no_new_privs. Raises OSError where the kernel has no Landlock."""
    known = version()
    files = max((count for since, count in _FILE_RIGHTS.items() if since <= known), default=0)
    rules = _Ruleset(
        files=(1 << files) - 1,
        network=_NETWORK_RIGHTS if known >= _NETWORK_SINCE else 0,
        scopes=_SCOPES if known >= _SCOPES_SINCE else 0,
    )
    # an older kernel wants the fields of its time and nothing behind them but zeros
    ruleset = syscall(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(ctypes.sizeof(rules)), ctypes.c_uint32(0))
    try:
        syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)
