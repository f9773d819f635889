"""People at their terminals: the `hansa` command in processes of its own, each person with a home of their own."""

import json
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hansa.client import Api
from hansa.formats import safetensors
from hansa.simulation.chaos.processes import clean_environment
from support.databases import settings_of
from system.processes import PASSWORD, Server, end, serving

HANSA = Path(sysconfig.get_path("scripts"), "hansa")
TRAINER = '''
"""A trainer without a library: every value grows by one."""

from hansa.client import TrainResult


class Trainer:
    def train(self, params, config):
        return TrainResult({name: value + 1 for name, value in params.items()}, num_examples=10, metrics={"loss": 1.0})

    def evaluate(self, params, config):
        return {"num_examples": 10, "loss": 0.5, "accuracy": 0.75}


trainer = Trainer()
'''


@dataclass
class Person:
    """Somebody with a terminal, in a folder that holds a trainer and a model file."""

    folder: Path
    environment: dict[str, str]
    running: list["subprocess.Popen[str]"] = field(default_factory=list)

    def hansa(self, *arguments: str, typed: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [HANSA, *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            input=typed,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def done(self, *arguments: str, **more: str) -> str:
        """As `hansa`; what it printed, once it went well."""
        ran = self.hansa(*arguments, **more)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.done(*arguments, "--json"))

    def begin(self, *arguments: str) -> "subprocess.Popen[str]":
        """A command that runs on."""
        process = subprocess.Popen(
            [HANSA, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.running.append(process)
        return process


def at_home(folder: Path) -> Person:
    """A person whose home, configuration and state lie under `folder`."""
    folder.mkdir(parents=True)
    (folder / "trainer.py").write_text(TRAINER)
    with (folder / "net.safetensors").open("wb") as file:
        safetensors.write(file, {"w": np.zeros(3, np.float32)})
    places = {f"XDG_{kind}_HOME": str(folder / kind.lower()) for kind in ("CONFIG", "STATE", "CACHE")}
    return Person(
        folder, {**clean_environment("XDG_"), **places, **settings_of(folder), "HOME": str(folder), "COLUMNS": "80"}
    )


@pytest.fixture
def people(tmp_path) -> Iterator[Any]:
    """Makes people; what they still run ends with the test."""
    with ExitStack() as stack:

        def make(name: str) -> Person:
            person = at_home(tmp_path / name)
            stack.callback(lambda: [end(process) for process in person.running])
            return person

        yield make


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    """A server with an administrator `root`, for all tests of a file: names in it are to differ."""
    with serving(tmp_path_factory.mktemp("served") / "server") as served:
        yield served


@pytest.fixture(scope="module")
def api(server) -> Iterator[Api]:
    """What the administrator could ask the server without a command."""
    admin = server.admin()
    yield admin
    admin.transport.close()


@pytest.fixture
def alice(people, server) -> Person:
    """Alice is logged in as the administrator."""
    person: Person = people("alice")
    person.done("login", "--server", server.url, "--username", "root", typed=PASSWORD + "\n")
    return person


@pytest.fixture
def enrolled(api, server) -> Any:
    """Makes a machine a client, where the commands for it are not the subject; gives what starts the client."""

    def enroll(machine: Person, name: str) -> list[str]:
        token = machine.folder / f"{name}.token"
        token.touch(mode=0o600)
        token.write_text(api.enroll(api.invite(name).code).token)
        return ["client", "run", "trainer:trainer", "--server", server.url, "--token-file", str(token)]

    return enroll
