"""What every benchmark needs: a real server in a folder of its own, and the memory and work of a tree of processes.

Linux only, by way of /proc. Everything started here ends with the context that started it, also on an error, and is
killed by the kernel if the benchmark itself is killed.
"""

import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hansa.client.api import Api
from hansa.client.errors import HansaError, Unreachable
from hansa.client.transport import Transport
from hansa.simulation.chaos.processes import clean_environment

HANSA = Path(sysconfig.get_path("scripts"), "hansa")
ACTOR = "benchmark"
START_SECONDS = 120.0
END_SECONDS = 15.0
SAMPLES_PER_SECOND = 40
LAST_LINES = 20
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class BenchmarkError(Exception):
    """The benchmark has no result; the text says why."""


def in_a_folder(work: Callable[[Path], int], *, prefix: str, parent: Path | None = None) -> int:
    """The exit code of a benchmark that has a folder to itself, which is gone afterwards however it ended."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started ends, and the folder goes
    if sys.platform != "linux":
        print("The benchmarks read /proc, which only Linux has.", file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        return work(folder)
    except KeyboardInterrupt:
        return 130
    except (BenchmarkError, HansaError) as error:
        print(f"No result: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Child:
    """A process that was started here."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """BenchmarkError with the end of its log if it has ended."""
        if self.process.poll() is not None:
            last = "\n".join(self.log.read_text(errors="replace").splitlines()[-LAST_LINES:])
            raise BenchmarkError(
                f"{self.name} ended by itself ({self.process.returncode}). The end of its log:\n{last}"
            )


@dataclass(frozen=True)
class Server:
    """A running `hansa serve`, and its API as its one superuser sees it."""

    url: str
    child: Child
    api: Api


@contextmanager
def serving(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server on a free port, with its data in `folder`; as it comes but for `settings` (HANSA_* variables)."""
    account = {"USERNAME": ACTOR, "PASSWORD": secrets.token_hex(16), "EMAIL": "benchmark@example.org"}
    environment = {
        **clean_environment(),
        **{f"DJANGO_SUPERUSER_{name}": value for name, value in account.items()},
        "HANSA_HOME": str(folder / "server"),
        **(settings or {}),
    }
    log = folder / "server.log"
    with log.open("ab") as output:
        made = subprocess.run(
            [HANSA, "createsuperuser", "--noinput"], env=environment, stdout=output, stderr=output, check=False
        )
    if made.returncode != 0:
        raise BenchmarkError(f"hansa createsuperuser failed:\n{log.read_text()}")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with child("the server", [HANSA, "serve", "--port", str(port)], log=log, env=environment) as process:
        token = _first_token(url, account["PASSWORD"], process)
        with Transport(url, token) as transport:
            yield Server(url, process, Api(transport))


@contextmanager
def child(
    name: str, command: Sequence[str | Path], *, log: Path, env: Mapping[str, str] | None = None
) -> Iterator[Child]:
    """A process that is asked to end when the context is left, and killed if it does not."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=_end_with_parent(),  # noqa: PLW1509 - one system call, no lock
        )
    try:
        yield Child(name, process, log)
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@dataclass
class Usage:
    """What a tree of processes used while it was measured."""

    rss_anon_mib: float = 0.0
    """Peak over time of the sum over processes, as is the next one."""
    rss_mib: float = 0.0
    cpu_seconds: float = 0.0
    """User and system, also of processes that have ended and were waited for."""
    samples: int = 0


@contextmanager
def measured(pid: int) -> Iterator[Usage]:
    """Watch a process and its descendants, from another thread, as long as the context lasts."""
    usage, end, before = Usage(), threading.Event(), cpu_seconds(pid)
    watcher = threading.Thread(target=_watch, args=(pid, usage, end), daemon=True)
    watcher.start()
    try:
        yield usage
    finally:
        end.set()
        watcher.join()
        usage.cpu_seconds = cpu_seconds(pid) - before


def _watch(pid: int, usage: Usage, end: threading.Event) -> None:
    while True:
        memory = [_memory_kib(each) for each in tree(pid)]
        usage.rss_mib = max(usage.rss_mib, sum(rss for rss, _ in memory) / 1024)
        usage.rss_anon_mib = max(usage.rss_anon_mib, sum(anon for _, anon in memory) / 1024)
        usage.samples += 1
        if end.wait(1 / SAMPLES_PER_SECOND):
            return


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for each in found:  # grows while it is walked
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            found += map(int, _read(children).split())
    return found


def rss_kib(pid: int) -> int:
    """VmRSS of a tree of processes."""
    return sum(_memory_kib(each)[0] for each in tree(pid))


def threads(pid: int) -> int:
    """Threads of the operating system in a tree of processes."""
    return sum(len(list(Path(f"/proc/{each}/task").glob("*"))) for each in tree(pid))


def _memory_kib(pid: int) -> tuple[int, int]:
    """VmRSS and RssAnon of one process; zeros if it has ended."""
    lines = dict(line.split(":", 1) for line in _read(Path(f"/proc/{pid}/status")).splitlines())
    rss, anon = (int(lines.get(name, "0 kB").split()[0]) for name in ("VmRSS", "RssAnon"))
    return rss, anon


def cpu_seconds(pid: int) -> float:
    """utime, stime, cutime and cstime (proc(5)) of a tree; the last two count children that have ended."""
    stats = [_read(Path(f"/proc/{each}/stat")).rpartition(")")[2].split() for each in tree(pid)]
    return sum(int(ticks) for fields in stats for ticks in fields[11:15]) / CLOCK_TICKS


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):  # it ended in between
        return ""


def _first_token(url: str, password: str, server: Child) -> str:
    until = time.monotonic() + START_SECONDS
    with Transport(url, basic=(ACTOR, password)) as transport:
        while True:
            server.check()
            try:
                return Api(transport).create_token("benchmark").token
            except Unreachable as error:
                if time.monotonic() > until:
                    raise BenchmarkError(f"no answer from the server in {START_SECONDS:.0f} s: {error}") from error
                time.sleep(0.05)


def _end_with_parent() -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
