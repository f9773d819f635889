"""The processes of a federation: started, killed, and started again under the same name."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hansa.crashpoints import VARIABLE
from hansa.simulation.chaos import bound

SERVE = "from hansa.cli import main; raise SystemExit(main())"
END_SECONDS = 20.0


class ProcessError(Exception):
    """A process ended that nobody has killed, or does not do what it is for; the message has the end of its log."""


@dataclass
class Process:
    """One place in the federation, and who fills it now. Its output goes to `log`, start after start."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    starts: int = 0
    _running: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)
    _watch: threading.Thread | None = field(default=None, repr=False)
    _died_at: float = 0.0

    @property
    def pid(self) -> int:
        """Of the process that runs now, or ran last; 0 before the first."""
        return 0 if self._running is None else self._running.pid

    def start(self, *, crash_at: str = "") -> None:
        """Start it, in a session of its own: a Ctrl-C is for who started it to act upon."""
        with self.log.open("ab") as log, _interrupted_after():
            self._running = subprocess.Popen(  # noqa: S603  # our own program
                bound_command(self.command),
                env={**self.environment, VARIABLE: crash_at} if crash_at else dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._watch = threading.Thread(target=self._note_death, args=(self._running,), daemon=True)
        self._watch.start()
        self.starts += 1

    def _note_death(self, running: "subprocess.Popen[bytes]") -> None:
        """Whoever started it may be waiting for something else when it dies."""
        running.wait()
        self._died_at = time.monotonic()

    @property
    def died_at(self) -> float:
        """When the process that has ended did so, in seconds of `time.monotonic`."""
        if self._watch is not None:
            self._watch.join()
        return self._died_at

    def ended(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return None if self._running is None else self._running.poll()

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        return 0 if self._running is None else self._running.wait()

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone: its locks and its port are free then."""
        if self._running is not None:
            self._running.kill()
            self._running.wait()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that is not enough."""
        if self._running is None or self._running.poll() is not None:
            return
        self._running.send_signal(signal.SIGTERM)
        try:
            self._running.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def unexpected(self, code: int) -> ProcessError:
        """What to raise when it has ended with `code`, and nobody wanted that."""
        return ProcessError(f"{self.name} ended by itself ({_ending(code)}); {self.last_words()}")

    def last_words(self) -> str:
        """Where its output is, and the last line of it."""
        lines = self.log.read_text(errors="replace").split("\n") if self.log.exists() else []
        return f"{self.log} ends with: {next((line for line in reversed(lines) if line.strip()), 'nothing')}"


def bound_command(command: Sequence[str]) -> list[str]:
    """The command, to be killed by the kernel when this process ends."""
    return [sys.executable, "-I", "-S", bound.__file__, str(os.getpid()), *command]


def hansa(*arguments: str) -> list[str]:
    """The command line as it is installed beside this interpreter."""
    return [sys.executable, "-c", SERVE, *arguments]


def clean_environment(*without: str) -> dict[str, str]:
    """Ours without Hansa's and Django's settings: they are those of whoever calls, for another server.

    And what one start has compiled, the next one need not: there are many. `without`: the beginnings of more names.
    """
    others = ("HANSA_", "DJANGO_", "PYTHONDONTWRITEBYTECODE", *without)
    return {name: value for name, value in os.environ.items() if not name.startswith(others)}


def run_to_its_end(name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
    """Run a command that ends by itself. Raises ProcessError unless it succeeds."""
    process = Process(name, command, environment, log)
    process.start()
    try:
        code = process.wait()
    finally:
        process.kill()  # on Ctrl-C it ends with us
    if code:
        raise process.unexpected(code)


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


@contextmanager
def _interrupted_after() -> Iterator[None]:
    """A Ctrl-C that comes meanwhile is heard at the end. In the middle of a process's birth it would leave one that
    nobody has a hold of, and that goes on writing where its folder has just been removed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if heard:
            signal.raise_signal(signal.SIGINT)
