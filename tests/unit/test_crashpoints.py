"""The catalogue of crash points is the code's, every writer of rows passes one, and HANSA_CRASH_AT does as it says."""

import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from hansa import crashpoints
from hansa.crashpoints import CHANGES, MOMENTS, POINTS, CrashPointError, crash_point, observed, parse
from hansa.rounds import decisions
from support.serving import environment
from support.sources import literals, unprotected_writers

WITHOUT_A_CHANGE = {
    "hansa.server.accounts.sessions:clear_expired": "by one statement, which a kill undoes or not; an hour later again",
    "hansa.server.dummy.services:owner": "one row, by one statement, made again if it is gone",
}
"""The functions that write rows in no named change, and why they may."""

DECIDED = {
    f"rounds.{decision.__name__}"
    for decision in get_args(decisions.Decision)
    if decision not in (decisions.Wait, decisions.Aggregate, decisions.Combine)  # which change no row
}
COMPOSED = {"*.written", "*.committed", "rounds.*.written", "rounds.*.committed"}
"""The points of `change`, and of `rounds.advance`, which are those of what was decided."""


def test_the_catalogue_names_every_change_and_moment_of_the_code_and_nothing_else():
    assert set(literals("change")) | DECIDED == set(CHANGES)
    assert set(literals("crash_point")) == set(MOMENTS) | COMPOSED
    assert len(POINTS) == 2 * len(CHANGES) + len(MOMENTS)


def test_a_name_stands_in_the_code_once():
    assert [name for name, count in Counter(literals("change") + literals("crash_point")).items() if count > 1] == []


def test_the_catalogue_is_sorted_so_that_two_who_add_to_it_seldom_meet():
    assert list(CHANGES) == sorted(CHANGES)
    assert list(MOMENTS) == sorted(MOMENTS)


def test_whoever_writes_rows_does_so_in_a_named_change():
    assert unprotected_writers() == set(WITHOUT_A_CHANGE)


def test_a_point_that_nobody_asked_for_does_nothing():
    crash_point("tasks.report.written")


def test_an_observer_sees_each_passing_and_may_raise_what_a_crash_stands_for():
    seen = []
    with observed(seen.append):
        crash_point("tasks.report.written")
        crash_point("tasks.report.committed")
    crash_point("tasks.renew.written")
    assert seen == ["tasks.report.written", "tasks.report.committed"]

    class Crash(BaseException):
        pass

    def crash(name: str) -> None:
        raise Crash(name)

    with pytest.raises(Crash, match=r"blobs\.placed"), observed(crash):
        crash_point("blobs.placed")


def test_a_process_dies_at_the_passing_that_its_environment_names(tmp_path: Path):
    program = (
        "from hansa.crashpoints import crash_point\n"
        "for number in range(9):\n"
        "    print(number, flush=True)\n"
        "    crash_point('blobs.placed')\n"
    )
    done = run(program, "blobs.placed:3", tmp_path)
    assert (done.returncode, done.stdout.split()) == (-signal.SIGKILL, ["0", "1", "2"])
    assert run(program, "blobs.placed:10", tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tasks.reprot.written", "'tasks.reprot.written', .* Did you mean tasks.report.written?"),
        ("tasks.reprot", "Did you mean tasks.report.written or tasks.report.committed?"),
        ("blobs.palced:3", "'blobs.palced', .* Did you mean blobs.placed?"),
        ("tasks.report", "'tasks.report', .* two, tasks.report.written and tasks.report.committed"),
        ("nowhere", "'nowhere', .* listed by: python -c"),
        (",", "',', which names no crash point"),
        ("blobs.placed:0", "'blobs.placed:0'"),
        ("blobs.placed:once", "'blobs.placed:once'"),
        ("blobs.placed:", "'blobs.placed:'"),
    ],
)
def test_what_is_no_crash_point_stops_the_start_with_one_line(text: str, said: str, tmp_path: Path):
    with pytest.raises(CrashPointError, match=said):
        parse(text)
    done = run("import hansa.crashpoints", text, tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert crashpoints.VARIABLE in done.stderr
    assert re.search(said, done.stderr)


def test_the_command_that_is_named_lists_all_points(tmp_path: Path):
    program = crashpoints.LISTED.split("'")[1]
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(tmp_path), capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) == POINTS


def test_the_server_and_a_client_both_read_the_variable(tmp_path: Path):
    for module in ("hansa.server.process", "hansa.client"):
        assert "no crash point" in run(f"import {module}", "nowhere", tmp_path).stderr


def run(program: str, crash_at: str, home: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", program],
        env=environment(home, {crashpoints.VARIABLE: crash_at}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
