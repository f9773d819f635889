"""What must be true after the last death: the same as without any, and no trace of one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from crash_scenarios import Scenario
from crash_supervision import SupervisedServer
from crash_world import LONG_AGO, Prepared, World, world

from support import databases, integrity
from system.processes import eventually

LAST_DEATH_SECONDS = 15.0


class Undisturbed:
    """What each flow comes to when nobody dies; found out once, when it is first asked for."""

    def __init__(self, prepared: Prepared, folder: Path) -> None:
        self._prepared = prepared
        self._folder = folder
        self._known: dict[str, list[Any]] = {}  # Any: plain data

    def outcome(self, scenario: Scenario) -> list[Any] | None:  # Any: as above
        """That of this flow; None if every run has one of its own."""
        if not scenario.repeatable:
            return None
        if scenario.name not in self._known:
            with world(self._prepared, self._folder / scenario.name, scenario.lives, scenario.settings) as quiet:
                scenario.flow(quiet)
            self._known[scenario.name] = integrity.outcome(quiet.home)
        return self._known[scenario.name]


def all_died(shaken: World, lives: int) -> None:
    """Every death that was asked for happened, and who answers now was born after the last."""
    with suppress(AssertionError):  # a death just after a commit is noted after what it committed is seen
        eventually(lambda: not shaken.server.unreached, "every death", seconds=LAST_DEATH_SECONDS)
    assert not shaken.server.unreached, f"not reached: {shaken.server.unreached}"
    assert len(shaken.server.died_at) == lives
    shaken.server.until_it_answers()
    assert shaken.root.get("health/")["pid"] == shaken.server.pid


@contextmanager
def told_where(shaken: World) -> Iterator[None]:
    """A failure within says how far it had come."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"The server had died at {shaken.server.died_at}, and was to die at {shaken.server.unreached}.")
        raise


def sound(shaken: World, wanted: list[Any] | None) -> None:
    """The outcome is as wanted, and the data has no breach; nor when housekeeping has been by, and nothing is left."""
    assert wanted is None or integrity.outcome(shaken.home) == wanted
    integrity.check(shaken.home, collected=False)
    _collect(shaken.home)
    integrity.check(shaken.home, collected=True)


def _collect(home: Path) -> None:
    """Let years pass and housekeeping come by, as it does at every start."""
    databases.change(home, "UPDATE blobs_blob SET seen_at = ?", [LONG_AGO])
    for folder in ("blobs", "tmp", "partial"):
        for path in (home / folder).rglob("*"):
            if path.is_file():
                os.utime(path, (0, 0))
    with SupervisedServer(home) as server:
        server.until_it_answers()
        eventually(lambda: not list(integrity.unreferenced(home)), "what nothing refers to is collected")
