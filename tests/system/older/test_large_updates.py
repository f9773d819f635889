"""An older client's update of 200 MB goes into a real server, whose memory does not grow with it."""

import pytest
import torch

from support.memory import ROOM, Memory
from support.older_client import saved
from system.processes import eventually

SIZE = 200 * 10**6


@pytest.mark.slow
def test_a_large_update_is_taken_in_bounded_memory(federation, tmp_path):
    net = torch.nn.Sequential(*(torch.nn.Linear(2500, 2500) for _ in range(8)))
    (tmp_path / "net.pt").write_bytes(saved(torch.jit.script(net)))
    assert (tmp_path / "net.pt").stat().st_size >= SIZE
    model = federation.model((tmp_path / "net.pt").read_bytes())
    training = federation.planned_training(model, ["alice"], rounds=1, evaluation={"every": 0})
    eventually(lambda: federation.record(training)["round"] == 1, "the round is open")
    memory = Memory(federation.server.process.pid)
    memory.reset()

    with (tmp_path / "net.pt").open("rb") as file:
        fields, files = {"round": "0", "sample_size": "1"}, {"model_file": ("tmp1a2b", file)}
        answer = federation.alice.post(f"/api/models/{model}/", data=fields, files=files)

    assert answer.status_code == 201, answer.text
    assert memory.growth() < ROOM
