"""Run a command in this process, bound to the life of the one that started it: `bound.py PARENT COMMAND…`.

The kernel kills a bound process when its parent ends, by whatever. Run as a file, on the standard library alone: a
function between fork and exec would do the same, but may deadlock where the parent has threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h; kept by execve


def main(parent: int, command: list[str]) -> None:
    """Become `command`, unless the parent has ended already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == parent:
        os.execv(command[0], command)  # noqa: S606  # there is no shell to be had


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
