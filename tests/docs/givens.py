"""What a document may take for granted, by the name it uses.

It is as the commands that the tutorial teaches leave it; those are run where the tutorial is, not for every document.
"""

import shutil

import numpy as np

from docs.blocks import ROOT, Command
from docs.terminal import Terminal
from hansa.client import Api, Transport
from hansa.formats import safetensors
from support.databases import change, on_postgresql
from support.serving import PASSWORD, furnish

CLIENTS = ("anna", "bert", "clara")
ENROLL = """
import sys
from hansa.cli.app import app
for code in open(sys.argv[1]).read().split():
    app(["enroll", code, "--server", sys.argv[2]], standalone_mode=False)
"""
"""`hansa enroll`, several times in one process."""
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
    if not on_postgresql():  # there the rows are not in the folder
        home = furnish(terminal.work / "hansa-data")
        change(home, "UPDATE accounts_user SET username = 'me'")
    terminal.begin("hansa serve", until="Hansa serves")
    if on_postgresql():
        create = "hansa createsuperuser --noinput --username me --email me@example.org"
        _do(terminal, f"DJANGO_SUPERUSER_PASSWORD='{PASSWORD}' {create}")
    _do(terminal, f"HANSA_PASSWORD='{PASSWORD}' hansa login --server {terminal.url} --username me")


def a_federation(terminal: Terminal) -> None:
    """The same with a model `net` and three clients at work: anna, bert and clara."""
    a_server(terminal)
    (terminal.work / "trainer.py").write_text(TRAINER)
    model = terminal.work / "net.safetensors"
    with model.open("wb") as file:
        safetensors.write(file, {"w": np.zeros(2, np.float32)})
    with Transport(terminal.url, basic=("me", PASSWORD)) as transport:
        api = Api(transport)
        api.create_model(model, name="net")
        (terminal.state / "codes").write_text("\n".join(api.invite(name).code for name in CLIENTS))
    _do(terminal, f"python -c '{ENROLL}' {terminal.state / 'codes'} {terminal.url}")
    for name in CLIENTS:
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
