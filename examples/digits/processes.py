"""Child processes that end when the program that started them ends, however it ends."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

PR_SET_PDEATHSIG = 1  # linux/prctl.h


class ChildEndedError(Exception):
    """A child that should have gone on has ended, or a command has failed."""


@dataclass(frozen=True)
class Child:
    name: str
    process: subprocess.Popen[bytes]
    log: Path


class Children:
    """Long-running children, each with a log `<name>.log` in one folder. Leaving the context ends them all.

    They are asked first (SIGTERM, all at once: none needs another in order to end) and killed after `patience`
    seconds, or at a second Ctrl-C. Each leads a process group of its own, so Ctrl-C in a terminal reaches only
    this program, which then ends them in order; and if this program is itself killed, Linux kills them.

    If one ends by itself, ChildEndedError is raised in the main thread, wherever it is, as Ctrl-C would be.
    """

    def __init__(self, logs: Path, *, patience: float = 10.0) -> None:
        self._logs = logs
        self._patience = patience
        self._children: list[Child] = []

    def __enter__(self) -> Self:
        signal.signal(signal.SIGCHLD, lambda _number, _frame: self.check())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            self._ask()
        finally:
            self._kill()

    def start(
        self, name: str, command: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path | None = None
    ) -> None:
        log = self._logs / f"{name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent(),  # noqa: PLW1509 - one system call, no lock
            )
        self._children.append(Child(name, process, log))

    def check(self) -> None:
        """Raise ChildEndedError if a child has ended."""
        for child in self._children:
            code = child.process.poll()
            if code is not None:
                raise ChildEndedError(f"{child.name} ended by itself ({said(code)}){last_words(child.log)}")

    def _ask(self) -> None:
        for child in self._children:
            child.process.terminate()
        until = time.monotonic() + self._patience
        for child in self._children:
            try:
                child.process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                return

    def _kill(self) -> None:
        for child in self._children:
            if child.process.poll() is None:
                os.killpg(child.process.pid, signal.SIGKILL)
                child.process.wait()


def run(command: Sequence[str | Path], *, env: Mapping[str, str], log: Path) -> None:
    """Run a command to its end; ChildEndedError with its last words if it fails."""
    with log.open("ab") as output:
        code = subprocess.run(
            command, env=dict(env), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False
        ).returncode
    if code != 0:
        raise ChildEndedError(f"{' '.join(map(str, command))} failed ({said(code)}){last_words(log)}")


def end_with_parent() -> Callable[[], None] | None:
    """What a child does before it becomes another program, so that it is killed when this one dies. Linux only."""
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask_kernel() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the call, which is then too late
            os._exit(1)

    return ask_kernel


def said(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def last_words(log: Path, lines: int = 8) -> str:
    """The end of a log, as the end of an error message."""
    text = log.read_text(errors="replace").strip().splitlines()[-lines:]
    return "\n".join([f". The end of {log}:", *(f"    {line}" for line in text)]) if text else f"; {log} is empty"
