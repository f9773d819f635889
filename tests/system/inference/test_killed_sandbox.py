"""The processes of the sandbox are killed while models are asked: answers are right, or say when to ask again."""

import os
import random
import signal
from contextlib import suppress
from threading import Event, Thread

import httpx
import psutil
import pytest
import torch
from torch import nn

from support.serving import PASSWORD, create_superuser, serving
from support.torchfiles import scripted
from system.processes import eventually

KILLS, SEED = 3, 20261123
SETTINGS = {"HANSA_INFERENCE_PROCESSES": "2", "HANSA_INFERENCE_SECONDS": "20"}


class Doubled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.full((1,), 2.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.w


class Asking(Thread):
    """Asks until it is told to stop, each time something else; what does not come right is kept."""

    def __init__(self, client: httpx.Client, model_id: str) -> None:
        super().__init__(daemon=True)
        self._client, self._model_id = client, model_id
        self.over = Event()
        self.right, self.again, self.wrong = 0, 0, list[str]()

    def run(self) -> None:
        number = 0
        while not self.over.is_set():
            number += 1
            asked = {"model_id": self._model_id, "model_input": [[float(number)]]}
            answer = self._client.post("/api/inference/", json=asked, timeout=60)
            if answer.status_code == 503 and "Retry-After" in answer.headers:
                self.again += 1
            elif answer.status_code == 200 and answer.json()["inference"] == [[2.0 * number]]:
                self.right += 1
            else:
                self.wrong.append(answer.text)


def children(server):
    return psutil.Process(server.process.pid).children(recursive=True)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_killed_processes_of_the_sandbox_cost_no_answer_and_the_server_goes_on(tmp_path):
    home = tmp_path / "home"
    assert create_superuser(home).returncode == 0
    rng = random.Random(SEED)  # noqa: S311  # repeatable, not secret
    print(f"seed {SEED}")
    with serving(home, settings=SETTINGS) as server, server.client() as client:
        client.auth = ("root", PASSWORD)
        files = {"model_file": ("net", scripted(Doubled()).content)}
        model_id = client.post("/api/models/", data={"name": "net"}, files=files).json()["model_id"]
        asking = Asking(client, model_id)
        asking.start()
        for _ in range(KILLS):
            before = asking.right
            eventually(lambda before=before: asking.right > before or asking.wrong, "a right answer")
            victims = []  # none is there for a moment, where the last one killed was what starts them
            eventually(lambda victims=victims: victims.extend(children(server)) or victims, "a process of it")
            with suppress(ProcessLookupError):  # it has ended by itself meanwhile
                os.kill(rng.choice(victims).pid, signal.SIGKILL)
        eventually(lambda before=asking.right: asking.right > before or asking.wrong, "a right answer after the last")
        asking.over.set()
        asking.join(60)
        assert client.get("/api/health/").json()["pid"] == server.process.pid

    assert asking.wrong == []
    assert asking.right > KILLS
