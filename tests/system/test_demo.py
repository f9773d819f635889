"""The demo, for real, but for fewer rounds; and how its processes end, whatever ends it."""

import os
import re
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

DIGITS = Path(__file__).parents[2] / "examples" / "digits"
MARK = "DEMO_TEST_MARK"

pytestmark = pytest.mark.slow


class Program:
    """A Python program whose processes are known by a mark in their environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._mark = uuid.uuid4().hex

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            cwd=DIGITS,
            env={**os.environ, MARK: self._mark, "TMPDIR": str(self.folder), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=hear_ctrl_c,  # noqa: PLW1509 - one system call
        )

    def processes(self) -> list[psutil.Process]:
        return [each for each in psutil.process_iter() if self._started(each)]

    def wait_until_none_is_left(self) -> None:
        _, left = psutil.wait_procs(self.processes(), timeout=10)
        assert not left, f"still running: {[each.cmdline() for each in left]}"

    def kill(self) -> None:
        for each in self.processes():
            each.kill()

    def _started(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get(MARK) == self._mark and process.status() != psutil.STATUS_ZOMBIE
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False


def hear_ctrl_c() -> None:
    """Where the tests run in the background, SIGINT is ignored, which children would inherit."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    running = Program(tmp_path)
    yield running
    running.kill()


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """What it has printed up to and with the line that holds `text`."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    pytest.fail(f"{text!r} was never printed, but:\n{seen}")


def test_with_exit_it_trains_reaches_the_goal_and_leaves_nothing_behind(program: Program) -> None:
    process = program.start("demo.py", "--exit", "--port", 0, "--rounds", 4)
    told, _ = process.communicate(timeout=170)
    assert process.returncode == 0, told
    accuracy = re.search(r"Held-out accuracy ([0-9.]+)%", told)
    assert accuracy, told
    assert float(accuracy[1]) >= 96
    assert told.count("5/5 clients") == 4, told
    program.wait_until_none_is_left()
    assert list(program.folder.glob("hansa-demo-*")) == []


def test_it_serves_until_ctrl_c_which_ends_every_process_and_tells_a_missed_goal_by_its_exit_code(
    program: Program,
) -> None:
    process = program.start("demo.py", "--port", 0, "--rounds", 1)
    told = read_until(process, "logs  ")
    assert re.search(r"Dashboard +http://127\.0\.0\.1:\d+/", told), told
    assert re.search(r"password +\S{8,}", told), told
    assert "missed" in told
    assert len(program.processes()) == 1 + 1 + 5
    process.send_signal(signal.SIGINT)
    told, _ = process.communicate(timeout=30)
    assert process.returncode == 1, told
    program.wait_until_none_is_left()
    assert list(program.folder.glob("hansa-demo-*")) == []


def test_a_busy_port_is_told_before_anything_is_started(program: Program) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        process = program.start("demo.py", "--port", port)
        told, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"port {port} on 127.0.0.1 cannot be used ([Errno 98] Address already in use)" in told
    assert "--port 0" in told
    assert list(program.folder.glob("hansa-demo-*")) == []


STUBBORN = """
import os, signal, sys, time
from pathlib import Path
from processes import Children
child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(99)"
logs = Path(sys.argv[1])
with Children(logs, patience=0.2) as children:
    for name in ("one", "two"):
        children.start(name, [sys.executable, "-c", child], env=os.environ)
    while not all((logs / f"{name}.log").read_text() for name in ("one", "two")):
        time.sleep(0.01)
    print("started", flush=True)
    signal.pause()
"""


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_children_that_ignore_being_asked_end_with_the_program_all_the_same(
    program: Program, ending: signal.Signals
) -> None:
    process = program.start("-c", STUBBORN, program.folder)
    read_until(process, "started")
    assert len(program.processes()) == 3
    process.send_signal(ending)
    process.communicate(timeout=30)
    program.wait_until_none_is_left()


BRIEF = """
import os, signal, sys
from pathlib import Path
from processes import Children
with Children(Path(sys.argv[1])) as children:
    children.start("sleeper", [sys.executable, "-c", "import time; time.sleep(600)"], env=os.environ)
    children.start("quitter", [sys.executable, "-c", "raise SystemExit('out of cheese')"], env=os.environ)
    signal.pause()
"""


def test_a_child_that_ends_by_itself_stops_the_program_with_its_last_words(program: Program) -> None:
    process = program.start("-c", BRIEF, program.folder)
    told, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "ChildEndedError: quitter ended by itself (exit code 1)" in told
    assert "out of cheese" in told
    program.wait_until_none_is_left()
