"""A real server with older clients around it, all made by the older platform's own requests."""

import base64
import io
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import pytest
import torch
from safetensors.numpy import load

from support.older_client import Habits, OlderClient, State
from support.serving import PASSWORD, Serving, furnish, serving
from system.processes import end, eventually, hansa

Message = dict[str, Any]  # Any: JSON

PATIENCE = 120.0
TESTS = Path(__file__).parents[2]
CLIENT_PASSWORD = "mnist-secret"


def libraries_of(pid: int) -> set[str]:
    """The files that a process and its children have mapped."""
    children = [
        int(child)
        for thread in Path(f"/proc/{pid}/task").iterdir()
        for child in (thread / "children").read_text().split()
    ]
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    own = {Path(line.split(maxsplit=5)[5]).name for line in maps if line.count("/")}
    return own.union(*(libraries_of(child) for child in children))


class Federation:
    """The server, its administrator, and Alice, who acts."""

    def __init__(self, server: Serving) -> None:
        self.server = server
        self.root = httpx.Client(base_url=server.url, auth=("root", PASSWORD), timeout=60)
        self.alice = httpx.Client(base_url=server.url, auth=("alice", CLIENT_PASSWORD), timeout=60)
        self.clients: list[OlderClient] = []
        self.register("alice", actor=True)

    def register(self, username: str, *, endpoint: str = "", actor: bool = False) -> str:
        """A user with the eight fields that the older platform's scripts send; the id."""
        body = {
            "username": username,
            "password": CLIENT_PASSWORD,
            "first_name": username.title(),
            "last_name": "of the tests",
            "email": f"{username}@example.org",
            "actor": actor,
            "client": not actor,
            "message_endpoint": endpoint,
        }
        answer = self.root.post("/api/users/", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def older_client(self, *, examples: int = 10, **habits: Any) -> "tuple[str, OlderClient]":  # Any: of Habits
        """A client that listens, and its user's id."""
        name, seed = f"client-{uuid4().hex[:8]}", len(self.clients) + 1
        client = OlderClient(self.server.url, name, CLIENT_PASSWORD, seed, examples, Habits(**habits))
        self.clients.append(client)
        client.start()
        return self.register(name, endpoint=client.endpoint), client

    @contextmanager
    def doomed_client(self) -> "Iterator[tuple[str, subprocess.Popen[str]]]":
        """An older client as a process that never finishes its training: its user's id, and what to kill."""
        name = f"client-{uuid4().hex[:8]}"
        command = [sys.executable, "-m", "support.older_client", self.server.url, name, CLIENT_PASSWORD]
        with subprocess.Popen(command, cwd=TESTS, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                yield self.register(name, endpoint=process.stdout.readline().strip()), process
            finally:
                process.kill()

    @contextmanager
    def pull_client(self, folder: Path) -> Iterator[str]:
        """A client of ours, which asks for its tasks, as a process; its user's id."""
        name, token = f"client-{uuid4().hex[:8]}", folder / "token"
        invited = self.alice.post("/api/clients/invitations/", json={"username": name})
        enrolled = self.alice.post("/api/clients/enroll/", json={"code": invited.json()["code"]})
        token.write_text(enrolled.json()["token"])
        token.chmod(0o600)
        where = ["--server", self.server.url, "--token-file", str(token), "--state", str(folder / "state")]
        command = hansa("client", "run", "pull_trainer:trainer", *where)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, cwd=Path(__file__).parent, stdout=log, stderr=log)
        try:
            yield str(enrolled.json()["id"])
        finally:
            end(process)

    def model(self, content: bytes, kind: str = "GLOBAL") -> str:
        """A model made of a torch file."""
        data = {"name": "net", "description": "of the tests", "type": kind, "input_shape": ["None", "1", "6", "6"]}
        answer = self.alice.post("/api/models/", data=data, files={"model_file": ("net.pt", content)})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["model_id"])

    def training(self, model: str, clients: list[str], **fields: object) -> str:
        """A training in the older platform's words, started."""
        body = {"model_id": model, "metric_names": ["accuracy"], "clients": clients, **fields}
        return self._started(self.alice.post("/api/trainings/", json=body))

    def planned_training(self, model: str, clients: list[str], **plan: object) -> str:
        """A training by a plan, started."""
        body = {"model_id": model, "clients": clients, "plan": {"seed": 11, **plan}}
        return self._started(self.alice.post("/api/trainings/", json=body))

    def _started(self, created: httpx.Response) -> str:
        assert created.status_code == 201, created.text
        training = str(created.json()["training_id"])
        answer = self.alice.post(f"/api/trainings/{training}/start/")
        assert answer.status_code == 202, answer.text
        return training

    def record(self, training: str) -> Message:
        """The training as its actor sees it."""
        record: Message = self.alice.get(f"/api/trainings/{training}/").json()
        return record

    def round(self, training: str, number: int) -> Message:
        """The newest attempt at a round."""
        return dict(self.alice.get(f"/api/trainings/{training}/rounds/{number}/").json())

    def reported(self, training: str, number: int) -> int:
        """How many updates a round has."""
        return int(self.round(training, number).get("reported", 0))

    def until_completed(self, training: str) -> Message:
        """Wait for the end, which must be a good one."""
        try:
            eventually(lambda: self.record(training)["state"] in "CE", "the training ends", seconds=PATIENCE)
        finally:
            faults = [fault for client in self.clients for fault in client.faults]
        record = self.record(training)
        assert (record["state"], faults) == ("C", []), record["reason"]
        return record

    def version(self, model: str, number: int) -> State:
        """The arrays of a version."""
        answer = self.alice.get(f"/api/models/{model}/versions/{number}/params/")
        assert answer.status_code == 200, answer.text
        return dict(load(answer.content))

    def moment(self, model: str, name: str) -> "np.ndarray[Any, Any]":
        """A SWAG moment of the newest version, which is told as a saved tensor in base64."""
        record = self.alice.get(f"/api/models/{model}/metadata/").json()
        tensor: torch.Tensor = torch.load(io.BytesIO(base64.b64decode(record[name])), weights_only=True)
        return tensor.numpy()


@pytest.fixture(scope="session")
def older_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    home = tmp_path_factory.mktemp("older") / "home"
    furnish(home)
    # The sandbox's own processes are torch's place, and begin with the first model: here there are to be none.
    settings = {"HANSA_PUSH_ALLOW": "127.0.0.1", "HANSA_INFERENCE_PROCESSES": "0"}
    with serving(home, settings=settings) as server:
        yield server
        assert not [name for name in libraries_of(server.process.pid) if "torch" in name]


@pytest.fixture(scope="session")
def federation(older_server: Serving) -> Federation:
    return Federation(older_server)


@pytest.fixture(autouse=True)
def _clients_end(federation: Federation) -> Iterator[None]:
    yield
    while federation.clients:
        federation.clients.pop().stop()
