"""What a document may take for granted, by the name it uses. Made with the commands that the tutorial teaches."""

import shutil

import numpy as np

from docs.blocks import ROOT, Command
from docs.terminal import Terminal
from hansa.formats import safetensors

PASSWORD = "hanse-1241-cogs"
TRAINER = """
import numpy as np
from hansa.client import TrainResult

class Mean:
    own = np.full(2, 3.0, np.float32)

    def train(self, params, config):
        w = params["w"] + (self.own - params["w"]) / 2
        return TrainResult({"w": w}, num_examples=10, metrics={"loss": float(((self.own - w) ** 2).mean())})

    def evaluate(self, params, config):
        return {"num_examples": 10, "loss": float(((self.own - params["w"]) ** 2).mean())}

trainer = Mean()
"""


def nothing(terminal: Terminal) -> None:
    """An empty folder."""


def a_server(terminal: Terminal) -> None:
    """A server that runs, and somebody who is logged in to it as `me`."""
    terminal.begin("hansa serve", until="Hansa serves")
    password = f"DJANGO_SUPERUSER_PASSWORD={PASSWORD} HANSA_PASSWORD={PASSWORD}"
    _do(
        terminal,
        f"{password} hansa createsuperuser --noinput --username me --email me@example.org",
        f"{password} hansa login --server http://127.0.0.1:8000 --username me",
    )


def a_federation(terminal: Terminal) -> None:
    """The same with a model `net` and three clients at work: anna, bert and clara."""
    a_server(terminal)
    (terminal.work / "trainer.py").write_text(TRAINER)
    with (terminal.work / "net.safetensors").open("wb") as file:
        safetensors.write(file, {"w": np.zeros(2, np.float32)})
    _do(terminal, "hansa models create --file net.safetensors --name net")
    for name in ("anna", "bert", "clara"):
        _do(terminal, f"hansa clients invite {name} | sh")
        terminal.begin(f"hansa client run trainer:trainer --as {name}", until="waiting for work")


def _do(terminal: Terminal, *commands: str) -> None:
    for command in commands:
        terminal.run(Command(command, None), place="given")


def the_notes_example(terminal: Terminal) -> None:
    """The project of examples/lifecycle, in the folder where its README is."""
    shutil.copytree(ROOT / "examples" / "lifecycle" / "notes", terminal.work / "notes")


GIVENS = {
    "": nothing,
    "a server": a_server,
    "a federation": a_federation,
    "the notes example": the_notes_example,
}
