"""One real server for these tests, and clients of the SDK as processes of their own."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from hansa.client import Api
from hansa.formats.safetensors import write
from hansa.protocol.trainings import TrainingCreate
from system.processes import Server, end, eventually, serving

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="session")
def api(server) -> Iterator[Api]:
    api = server.admin()
    yield api
    api.transport.close()


@pytest.fixture
def model(api, tmp_path) -> str:
    """A model whose versions tell how often each client's 1 was added."""
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        write(file, {"w": np.zeros(600_000, np.float32), "seen": np.array(0)}, frozenset({"seen"}))
    return api.create_model(path, name="zeros").model_id


@dataclass
class SdkClient:
    """`program.py` as a process: a Client of the SDK with a trainer that adds one, and notes what it did."""

    server: Server
    token: str
    folder: Path
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def start(self, **environment: str) -> "SdkClient":
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(HERE / "program.py"), self.server.url, self.token, str(self.folder)],
                env={**os.environ, **environment},
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return self

    def said(self) -> list[str]:
        """The names of its events so far, over all its lives."""
        notes = self.folder / "events"
        return notes.read_text().split() if notes.exists() else []

    def until(self, event: str, *, times: int = 1) -> None:
        eventually(lambda: self.said().count(event) >= times, f"{times} x {event}; its log: {self.log()}")

    def send(self, number: signal.Signals) -> None:
        self.processes[-1].send_signal(number)

    def wait(self) -> int:
        return self.processes[-1].wait(60)

    def log(self) -> str:
        return (self.folder / "log").read_text()[-2000:]


@pytest.fixture
def enrolled(api, server, tmp_path) -> Iterator[Callable[[], tuple[str, SdkClient]]]:
    """New clients: their names, and their processes yet to be started."""
    clients = []

    def enroll() -> tuple[str, SdkClient]:
        name = f"client-{uuid4().hex[:8]}"
        client = SdkClient(server, api.enroll(api.invite(name).code).token, tmp_path / name)
        clients.append(client)
        return name, client

    yield enroll
    for client in clients:
        for process in client.processes:
            end(process)


@pytest.fixture
def started(api, model) -> Callable[..., str]:
    """Start a training of the model by these clients."""

    def start(*names: str, rounds: int = 1, **plan: object) -> str:
        wanted = TrainingCreate(model_id=model, plan={"rounds": rounds, "seed": 1, **plan}, clients=list(names))
        training = api.create_training(wanted).training_id
        api.start(training)
        return training

    return start


@pytest.fixture
def finished(api) -> Callable[[str], str]:
    """Wait for the end of a training; its status."""

    def wait(training: str) -> str:
        record = api.training(training)
        while record.status == "ongoing":
            record = api.training(training, wait=30, revision=record.revision)
        return record.status

    return wait
