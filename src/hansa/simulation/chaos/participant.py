"""What runs in a client's process: the SDK's client, and a list of every receipt it got.

    python -m hansa.simulation.chaos.participant URL FOLDER

The folder holds `token`, the client's state, and `receipts.jsonl`: a line per task that the server has acknowledged,
written as soon as the receipt is there, before the client forgets what it has reported.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from hansa.client import Client
from hansa.client.events import Event, Leased
from hansa.client.reporting import LineReporter
from hansa.crashpoints import observed_too
from hansa.protocol.tasks import Task, TaskKind
from hansa.simulation.chaos.trainer import Repeatable

WAIT_SECONDS = 20.0
HAS_RECEIPT = "client.reported"
"""The crash point that a client passes with the receipt in its hands."""


class Receipt(msgspec.Struct, frozen=True):
    """A report that the server has acknowledged."""

    task: str
    kind: TaskKind


class Receipts:
    """A reporter that prints a line for everything, and an observer of the crash points, that notes receipts."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._printed = LineReporter()
        self._task: Task | None = None

    def __call__(self, event: Event) -> None:
        """Remember the task at hand."""
        if isinstance(event, Leased):
            self._task = event.task
        self._printed(event)

    def passing(self, point: str) -> None:
        """Note a receipt, in one write: a kill leaves a whole line or none."""
        if point == HAS_RECEIPT and self._task is not None:
            receipt = Receipt(task=self._task.id, kind=self._task.kind)
            os.write(self._file, msgspec.json.encode(receipt) + b"\n")


def receipts(folder: Path) -> Iterator[Receipt]:
    """What the client of this folder has been told."""
    path = folder / "receipts.jsonl"
    lines = path.read_bytes().splitlines() if path.exists() else []
    return (msgspec.json.decode(line, type=Receipt) for line in lines)


def take_part(url: str, folder: Path) -> None:
    """Work until SIGTERM."""
    token = (folder / "token").read_text().strip()
    noted = Receipts(folder / "receipts.jsonl")
    client = Client(url, token, state=folder / "state", reporter=noted, wait=WAIT_SECONDS)
    with observed_too(noted.passing):
        client.run(Repeatable())


if __name__ == "__main__":
    take_part(sys.argv[1], Path(sys.argv[2]))
