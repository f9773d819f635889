"""Numbers of the kernel's calls, by machine: (x86-64, aarch64). None: the machine has no such call."""

from collections.abc import Mapping
from types import MappingProxyType

ALLOWED: Mapping[str, tuple[int | None, int | None]] = MappingProxyType(
    {
        "read": (0, 63),
        "write": (1, 64),
        "close": (3, 57),
        "fstat": (5, 80),
        "poll": (7, None),
        "lseek": (8, 62),
        "mmap": (9, 222),
        "mprotect": (10, 226),
        "munmap": (11, 215),
        "brk": (12, 214),
        "rt_sigaction": (13, 134),
        "rt_sigprocmask": (14, 135),
        "rt_sigreturn": (15, 139),
        "pread64": (17, 67),
        "readv": (19, 65),
        "writev": (20, 66),
        "sched_yield": (24, 124),
        "mremap": (25, 216),
        "madvise": (28, 233),
        "nanosleep": (35, 101),
        "getpid": (39, 172),
        "sendto": (44, 206),
        "recvfrom": (45, 207),
        "sendmsg": (46, 211),
        "recvmsg": (47, 212),
        "exit": (60, 93),
        "uname": (63, 160),
        "gettimeofday": (96, 169),
        "getrusage": (98, 165),
        "sysinfo": (99, 179),
        "sigaltstack": (131, 132),
        "gettid": (186, 178),
        "futex": (202, 98),
        "sched_getaffinity": (204, 123),
        "restart_syscall": (219, 128),
        "clock_gettime": (228, 113),
        "clock_getres": (229, 114),
        "clock_nanosleep": (230, 115),
        "exit_group": (231, 94),
        "ppoll": (271, 73),
        "set_robust_list": (273, 99),
        "getcpu": (309, 168),
        "getrandom": (318, 278),
        "membarrier": (324, 283),
        "rseq": (334, 293),
    }
)
"""What arithmetic on tensors needs, once everything is imported."""

FILES: Mapping[str, tuple[int | None, int | None]] = MappingProxyType(
    {
        "open": (2, None),
        "stat": (4, None),
        "lstat": (6, None),
        "access": (21, None),
        "rename": (82, None),
        "mkdir": (83, None),
        "creat": (85, None),
        "link": (86, None),
        "unlink": (87, None),
        "symlink": (88, None),
        "readlink": (89, None),
        "getdents64": (217, 61),
        "openat": (257, 56),
        "mkdirat": (258, 34),
        "unlinkat": (263, 35),
        "newfstatat": (262, 79),
        "readlinkat": (267, 78),
        "faccessat": (269, 48),
        "open_by_handle_at": (304, 265),
        "renameat2": (316, 276),
        "memfd_create": (319, 279),
        "statx": (332, 291),
        "openat2": (437, 437),
        "faccessat2": (439, 439),
    }
)
NETWORK: Mapping[str, tuple[int | None, int | None]] = MappingProxyType(
    {
        "socket": (41, 198),
        "connect": (42, 203),
        "accept": (43, 202),
        "bind": (49, 200),
        "listen": (50, 201),
        "socketpair": (53, 199),
        "accept4": (288, 242),
    }
)
PROCESSES: Mapping[str, tuple[int | None, int | None]] = MappingProxyType(
    {
        "fork": (57, None),
        "vfork": (58, None),
        "execve": (59, 221),
        "execveat": (322, 281),
        "kill": (62, 129),
        "ptrace": (101, 117),
    }
)
UNKNOWN: Mapping[str, tuple[int | None, int | None]] = MappingProxyType({"clone3": (435, 435)})
"""What the C library does without, if it is told that there is none: its arguments cannot be looked at by a filter."""

CLONE = (56, 220)
TGKILL = (234, 131)
PRCTL = (157, 167)
PRLIMIT = (302, 261)
FCNTL = (72, 25)
IOCTL = (16, 29)
