"""What a confined process cannot do: each thing is tried by real code in a real child."""

import ctypes
import errno
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hansa.sandbox.confinement import seccomp
from hansa.sandbox.confinement.limits import Limits
from hansa.sandbox.confinement.protections import Protections, confine, protections

LIMITS = Limits(memory=256 * 2**20, cpu_seconds=1)
DONE, ODD = 0, 255

pytestmark = pytest.mark.skipif(bool(protections().missing), reason=f"protections are {protections()}")


def ended(trial: Callable[[], object]) -> int:
    """The status of a confined child that tried it: DONE, else the error's number."""
    child = os.fork()
    if child == 0:
        code = ODD
        try:
            confine(LIMITS, protections())
            trial()
            code = DONE
        except OSError as error:
            code = error.errno or ODD
        except MemoryError:
            code = errno.ENOMEM
        except ValueError:  # what the module `resource` makes of EPERM
            code = errno.EPERM
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR, os.O_WRONLY | os.O_CREAT])
def test_no_file_is_opened(flags: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"secret")
    assert ended(lambda: os.open(path, flags)) == seccomp.FILES_ERROR


def test_not_even_its_own_entries_in_proc_are_read() -> None:
    assert ended(lambda: os.open("/proc/self/environ", os.O_RDONLY)) == seccomp.FILES_ERROR
    assert ended(lambda: next(Path("/proc").iterdir())) == seccomp.FILES_ERROR


def test_nothing_is_learnt_of_a_path() -> None:
    assert ended(lambda: Path("/etc/hostname").stat()) == seccomp.FILES_ERROR
    assert ended(lambda: Path("/proc/self/exe").readlink()) == seccomp.FILES_ERROR
    assert ended(lambda: stat_by_an_empty_path_flag(b"/etc/hostname")) == seccomp.FILES_ERROR


def stat_by_an_empty_path_flag(path: bytes) -> None:
    """The flag that asks about a descriptor does not keep the kernel from reading the path."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = 262 if os.uname().machine == "x86_64" else 79
    found = ctypes.create_string_buffer(256)
    if libc.syscall(ctypes.c_long(number), -100, path, found, 0x1000) < 0:
        raise OSError(ctypes.get_errno(), "")


def test_a_descriptor_that_it_was_given_is_read_and_never_grows(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"secret")
    with path.open("rb+", buffering=0) as file:
        assert ended(file.read) == DONE
        # SIGXFSZ is ignored by Python, so that the error is seen
        assert ended(lambda: file.write(b"more than there was")) == errno.EFBIG
    assert path.read_bytes() == b"secret"


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        (socket.AF_INET, socket.SOCK_STREAM),
        (socket.AF_INET, socket.SOCK_DGRAM),
        (socket.AF_UNIX, socket.SOCK_STREAM),
        (socket.AF_NETLINK, socket.SOCK_RAW),
    ],
)
def test_no_socket_is_opened(family: int, kind: int) -> None:
    assert ended(lambda: socket.socket(family, kind)) == seccomp.NETWORK_ERROR


@pytest.mark.parametrize("pair", [socket.socketpair])
def test_no_pair_of_sockets_is_opened(pair: Callable[[], object]) -> None:
    assert ended(pair) == seccomp.NETWORK_ERROR


def test_no_process_is_started() -> None:
    libc = ctypes.CDLL(None, use_errno=True)

    def call(number: int) -> None:
        if libc.syscall(ctypes.c_long(number), 0, 0, 0, 0, 0) < 0:
            raise OSError(ctypes.get_errno(), "")

    assert ended(os.fork) == seccomp.PROCESSES_ERROR
    assert ended(lambda: os.execv("/bin/true", ["true"])) == seccomp.PROCESSES_ERROR  # noqa: S606 - the subject
    if os.uname().machine == "x86_64":
        assert ended(lambda: call(58)) == seccomp.PROCESSES_ERROR, "vfork"
        assert ended(lambda: call(56)) == seccomp.PROCESSES_ERROR, "clone without CLONE_THREAD"
        assert ended(lambda: call(101)) == seccomp.PROCESSES_ERROR, "ptrace"
        assert ended(lambda: call(321)) == errno.EPERM, "bpf"
    assert ended(lambda: call(435)) == errno.ENOSYS, "clone3"
    assert ended(lambda: call(425)) == errno.EPERM, "io_uring_setup"


def test_threads_are_started() -> None:
    def trial() -> None:
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()

    assert ended(trial) == DONE


def test_threads_have_a_bound() -> None:
    def trial() -> None:
        for _ in range(2000):
            threading.Thread(target=threading.Event().wait, daemon=True).start()

    def told() -> None:
        try:
            trial()
        except RuntimeError as error:  # what Python makes of it
            raise OSError(errno.EAGAIN, str(error)) from error

    assert ended(told) == errno.EAGAIN


def test_no_other_process_is_signalled() -> None:
    assert ended(lambda: os.kill(os.getppid(), 0)) == seccomp.PROCESSES_ERROR


def test_limits_are_not_raised_again() -> None:
    raised = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    assert ended(lambda: resource.setrlimit(resource.RLIMIT_AS, raised)) == errno.EPERM
    assert ended(lambda: resource.getrlimit(resource.RLIMIT_AS)) == DONE


def test_memory_ends_at_its_limit() -> None:
    assert ended(lambda: bytearray(LIMITS.memory // 2)) == DONE
    assert ended(lambda: bytearray(LIMITS.memory * 2)) == errno.ENOMEM


def test_time_of_the_processor_ends_at_its_limit() -> None:
    def spin() -> None:
        while True:
            pass

    assert ended(spin) in (-signal.SIGKILL, -signal.SIGXCPU)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to lose")
def test_root_becomes_nobody() -> None:
    def trial() -> None:
        assert os.getresuid() == (65534, 65534, 65534)

    # getresuid is not among the allowed calls, so it is asked before the filter
    assert ended_without_filter(trial) == DONE


def ended_without_filter(trial: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        code = ODD
        try:
            confine(LIMITS, Protections(protections().landlock, seccomp=False, limits=True))
            trial()
            code = DONE
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_landlock_alone_closes_files(tmp_path: Path) -> None:
    def trial() -> None:
        with pytest.raises(PermissionError):
            os.open("/etc/hostname", os.O_RDONLY)

    assert ended_without_filter(trial) == DONE


def test_a_missing_protection_is_named() -> None:
    assert Protections(landlock=0, seccomp=True, limits=True).missing == ("landlock",)
    assert "landlock" in str(Protections(landlock=0, seccomp=True, limits=True))


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_a_filter_fits_into_what_the_kernel_takes(machine: str) -> None:
    code = seccomp.program(machine, pid=1)
    assert len(code) % 8 == 0
    assert len(code) // 8 <= 4096
