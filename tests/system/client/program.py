"""A client as a process. It notes its events, and may kill itself right after one, as a power cut would."""

import os
import signal
import sys
import threading
from pathlib import Path

from hansa.client import Client, TrainResult

url, token, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
DIE_AFTER = os.environ.get("DIE_AFTER")
HOLD = "HOLD" in os.environ
"""Work on each round until told that it is enough: by a file `go-<round>` beside the notes."""
WAIT = float(os.environ.get("WAIT", "60"))


def note(what: str) -> None:
    with (folder / "events").open("a") as notes:
        notes.write(f"{what}\n")


def report(event: object) -> None:
    name = type(event).__name__
    note(name)
    if name == DIE_AFTER:
        os.kill(os.getpid(), signal.SIGKILL)


class AddOne:
    def train(self, params, config):
        note("training")
        while HOLD and not (folder / f"go-{config.round}").exists():
            threading.Event().wait(0.05)
        params["w"] += 1
        return TrainResult(params, num_examples=10, metrics={"loss": 1.0 / config.round})

    def evaluate(self, params, config):
        return {"num_examples": 3, "mean": float(params["w"].mean())}


Client(url, token, state=folder / "state", reporter=report, wait=WAIT).run(AddOne())
note("ended")
