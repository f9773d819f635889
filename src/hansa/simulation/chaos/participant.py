"""What runs in a client's process: the SDK's client, and a list of every receipt it got.

    python -m hansa.simulation.chaos.participant URL FOLDER

The folder holds `token`, the client's state, and `receipts.jsonl`: a line per task that the server has acknowledged,
written when the receipt is there and before the next task is asked for.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from hansa.client import Client
from hansa.client.events import Event, Reported
from hansa.client.reporting import LineReporter
from hansa.protocol.tasks import TaskKind
from hansa.simulation.chaos.trainer import Repeatable

WAIT_SECONDS = 20.0


class Receipt(msgspec.Struct, frozen=True):
    """A report that the server has acknowledged."""

    task: str
    kind: TaskKind


class Receipts:
    """A reporter that notes receipts, and prints a line for everything."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._printed = LineReporter()

    def __call__(self, event: Event) -> None:
        """Note a receipt, in one write: a kill leaves a whole line or none."""
        if isinstance(event, Reported):
            receipt = Receipt(task=event.task.id, kind=event.task.kind)
            os.write(self._file, msgspec.json.encode(receipt) + b"\n")
        self._printed(event)


def receipts(folder: Path) -> Iterator[Receipt]:
    """What the client of this folder has been told."""
    path = folder / "receipts.jsonl"
    lines = path.read_bytes().splitlines() if path.exists() else []
    return (msgspec.json.decode(line, type=Receipt) for line in lines)


def take_part(url: str, folder: Path) -> None:
    """Work until SIGTERM."""
    token = (folder / "token").read_text().strip()
    client = Client(url, token, state=folder / "state", reporter=Receipts(folder / "receipts.jsonl"), wait=WAIT_SECONDS)
    client.run(Repeatable())


if __name__ == "__main__":
    take_part(sys.argv[1], Path(sys.argv[2]))
