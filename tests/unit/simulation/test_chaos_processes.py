"""The processes of a storm: bound to who started them, killed, started again, and explained."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from hansa.simulation.chaos.processes import Process, ProcessError, bound_command, clean_environment, run_to_its_end

SLEEPER = [sys.executable, "-c", "import signal; print('here', flush=True); signal.pause()"]


def process(tmp_path: Path, command: list[str]) -> Process:
    return Process("the sleeper", command, clean_environment(), tmp_path / "log")


def test_a_bound_process_ends_when_who_started_it_is_killed():
    program = (
        "import subprocess, sys\n"
        "from hansa.simulation.chaos.processes import bound_command\n"
        f"child = subprocess.Popen(bound_command({SLEEPER!r}), stdout=subprocess.PIPE, text=True)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        psutil.wait_procs([child], timeout=20)
    assert not child.is_running()


def test_a_bound_process_does_not_begin_when_its_parent_has_ended_before():
    command = bound_command([sys.executable, "-c", "print('begun')"])
    command[command.index(str(os.getpid()))] = str(os.getpid() + 1)  # a parent that is not ours
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""


def test_a_ctrl_c_in_the_middle_of_a_birth_is_heard_when_the_process_can_be_killed(tmp_path, monkeypatch):
    sleeper, born = process(tmp_path, SLEEPER), subprocess.Popen

    def interrupted(*command, **options):
        child = born(*command, **options)
        signal.raise_signal(signal.SIGINT)
        return child

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sleeper.start()

    assert sleeper.ended() is None
    sleeper.kill()
    assert sleeper.ended() == -signal.SIGKILL


def test_a_killed_process_is_gone_and_starts_again_with_another_pid(tmp_path):
    sleeper = process(tmp_path, SLEEPER)
    sleeper.start()
    first = sleeper.pid
    sleeper.kill()
    assert sleeper.ended() == -signal.SIGKILL
    sleeper.start()
    assert (sleeper.pid != first, sleeper.starts, sleeper.ended()) == (True, 2, None)
    sleeper.stop()
    assert sleeper.ended() is not None


def test_a_process_is_told_its_crash_point_and_the_next_start_forgets_it(tmp_path):
    told = process(tmp_path, [sys.executable, "-c", "import os; print(os.environ.get('HANSA_CRASH_AT'), flush=True)"])
    for crash_at in ("tasks.report.written:2", ""):
        told.start(crash_at=crash_at)
        assert told.wait() == 0
    assert told.log.read_text().split() == ["tasks.report.written:2", "None"]


def test_a_command_that_fails_is_told_with_the_end_of_its_log(tmp_path):
    with pytest.raises(ProcessError, match=r"the command ended by itself \(exit code 3\); .* ends with: what is wrong"):
        run_to_its_end(
            "the command",
            [sys.executable, "-c", "print('what is wrong'); raise SystemExit(3)"],
            clean_environment(),
            tmp_path / "log",
        )


def test_settings_of_whoever_calls_reach_no_process(monkeypatch):
    monkeypatch.setenv("HANSA_DATABASE_URL", "postgresql://elsewhere/mine")
    assert not any(name.startswith(("HANSA_", "DJANGO_")) for name in clean_environment())
