"""`hansa import dlr` killed at its crash points: nothing is there of it, or all, and the next time completes it."""

import signal

import pytest

from hansa.crashpoints import VARIABLE
from system.coming_over.commands import command, counts, document, dump
from system.coming_over.test_coming_over import HERE, TAKEN


@pytest.mark.crash_points
@pytest.mark.parametrize("point", ["coming_over.placed", "coming_over.placed:5", "coming_over.take.written"])
def test_killed_before_the_commit_no_row_is_there_and_the_next_time_takes_all(point, old, home):
    empty = dump(home)
    assert command(home, old.url, "--apply", settings={VARIABLE: point}).returncode == -signal.SIGKILL
    assert dump(home) == empty
    assert counts(document(home, old.url, "--apply")) == TAKEN


@pytest.mark.crash_points
def test_killed_after_the_commit_everything_is_here(old, home):
    killed = command(home, old.url, "--apply", settings={VARIABLE: "coming_over.take.committed"})
    assert killed.returncode == -signal.SIGKILL
    assert counts(document(home, old.url, "--apply")) == HERE
