"""A real server is asked: harmful programs, the next callers, and what is left when the server ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from torch import nn

from hansa.client import Api, ApiError, Transport
from support import harmful_nursery
from support.harmful_nursery import HARM, harmful
from support.serving import PASSWORD, create_superuser, serving
from support.torchfiles import scripted

SETTINGS = {"HANSA_INFERENCE_PROCESSES": "1", "HANSA_INFERENCE_SECONDS": "3"}


class Net(nn.Module):
    """A model has params."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(1))


class Loops(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        while bool(x.sum() == x.sum()):
            x = x + 0
        return x


class Eats(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros([17179869184]) + x.sum()


class Reads(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.from_file("/etc/hostname", size=1, dtype=torch.uint8) + x


class Twice(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("asked") / "home"
    assert create_superuser(home).returncode == 0
    return home


@pytest.fixture(scope="module")
def server(home):
    nursery = f"from hansa.sandbox import nurse\nnurse.NURSERY = ('-P', {harmful_nursery.__file__!r})"
    with serving(home, settings=SETTINGS, first=nursery) as server:
        yield server


@pytest.fixture(scope="module")
def http(server):
    with server.client() as client:
        token = client.post("/api/tokens/", auth=("root", PASSWORD), json={"name": "t"}).json()["token"]
    with server.client(Authorization=f"Token {token}") as client:
        yield client


def created(http: httpx.Client, net: nn.Module) -> str:
    return uploaded(http, scripted(net).content)


def uploaded(http: httpx.Client, program: bytes) -> str:
    files = {"model_file": ("net", program)}
    model_id: str = http.post("/api/models/", data={"name": "net"}, files=files).json()["model_id"]
    return model_id


def ask(http: httpx.Client, model_id: str) -> httpx.Response:
    return http.post("/api/inference/", json={"model_id": model_id, "model_input": [[1.5]]})


@pytest.mark.parametrize(("net", "limit"), [(Loops(), "wall_clock"), (Eats(), "memory"), (Reads(), "files")])
def test_a_program_that_wants_too_much_is_stopped_and_the_next_caller_notices_nothing(net, limit, http):
    good = created(http, Twice())
    assert ask(http, good).json()["inference"] == [[3.0]]

    stopped = ask(http, created(http, net))

    assert (stopped.status_code, stopped.json()["code"], stopped.json()["limit"]) == (422, "limit_exceeded", limit)
    assert ask(http, good).json()["inference"] == [[3.0]]


@pytest.mark.parametrize("harm", HARM)
def test_a_program_that_got_out_of_its_interpreter_is_stopped_at_the_limit_that_is_named(harm, http, tmp_path):
    program = harmful(harm, tmp_path / "harm").read_bytes()

    stopped = ask(http, uploaded(http, program))

    limit = HARM[harm][1]
    assert (stopped.status_code, stopped.json()["code"], stopped.json()["limit"]) == (422, "limit_exceeded", limit)
    assert ask(http, created(http, Twice())).json()["inference"] == [[3.0]]


def processes_of(pid: int) -> list[int]:
    """All that come from a process."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        if parent == pid:
            found += [int(folder.name), *processes_of(int(folder.name))]
    return found


def are_gone(pids: list[int]) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        os.sched_yield()
    return False


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_with_the_server_its_processes_are_gone(how, tmp_path):
    home = tmp_path / "home"
    assert create_superuser(home).returncode == 0
    with serving(home, settings=SETTINGS) as other, other.client() as client:
        client.auth = ("root", PASSWORD)
        assert ask(client, created(client, Twice())).status_code == 200
        started = processes_of(other.process.pid)
        assert len(started) >= 2

        other.process.send_signal(how)
        other.process.wait(timeout=20)

        assert are_gone(started)


def test_without_processes_it_says_so(tmp_path):
    home = tmp_path / "home"
    assert create_superuser(home).returncode == 0
    with serving(home, settings={"HANSA_INFERENCE_PROCESSES": "0"}) as server, server.client() as client:
        client.auth = ("root", PASSWORD)
        answer = ask(client, created(client, Twice()))

    assert (answer.status_code, answer.json()["code"]) == (503, "inference_unavailable")
    assert "HANSA_INFERENCE_PROCESSES" in answer.json()["detail"]


class Classes(Net):
    """Logits of three classes, from two numbers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x[:, 0] * 0, x[:, 0], x[:, 1]], dim=1)


def test_the_sdk_and_the_command_line_ask_and_tell_how_sure_the_model_is(server, http, tmp_path):
    model_id = created(http, Classes())
    token = http.headers["Authorization"].removeprefix("Token ")
    rows = np.array([[0.0, 0.0], [9.0, 1.0]], np.float32)

    with Transport(server.url, token) as transport:
        api = Api(transport)
        found = api.predict(model_id, rows, outputs="logits")
        nested = api.predict(model_id, rows.tolist())
        with pytest.raises(ApiError, match="model_input"):
            api.predict(model_id, b"hello")

    assert found.mean.tolist() == [0, 1]
    assert found.probabilities is not None
    assert np.allclose(found.probabilities[0], 1 / 3)
    assert found.entropy is not None
    assert np.allclose(found.entropy[0], np.log(3))
    assert (nested.mean.tolist(), nested.probabilities, nested.entropy) == ([0, 1], None, None)

    np.save(tmp_path / "row.npy", rows[:1])
    command = [str(Path(sys.executable).with_name("hansa")), "models", "predict", model_id, str(tmp_path / "row.npy")]
    told = subprocess.run(
        [*command, "--outputs", "logits", "--top", "2"],
        env={**os.environ, "HANSA_SERVER": server.url, "HANSA_TOKEN": token, "COLUMNS": "40"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert told.count(" 33.3 %") == 2
    assert "entropy  1.099 nats, 100 % of log 3" in told
