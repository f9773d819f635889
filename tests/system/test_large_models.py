"""A model of 200 MB goes in and comes out of a real server, whose memory does not grow with it."""

import hashlib
import io

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from hansa.formats import safetensors
from support.memory import ROOM, Memory
from support.serving import PASSWORD, furnish, serving

SIZE = 200 * 10**6


@pytest.fixture
def net(tmp_path):
    """A script of 200 MB, and the same net trained, as safetensors."""
    layers = torch.nn.Sequential(*(torch.nn.Linear(2500, 2500) for _ in range(8)))
    torch.jit.save(torch.jit.script(layers), tmp_path / "net.pt")
    trained = {name: np.asarray(array) + np.float32(1) for name, array in layers.state_dict().items()}
    with (tmp_path / "trained.safetensors").open("wb") as file:
        safetensors.write(file, trained)
    assert (tmp_path / "net.pt").stat().st_size >= SIZE
    return tmp_path


@pytest.mark.slow
def test_a_large_archive_is_taken_in_rendered_and_sent_in_bounded_memory(net, tmp_path):
    home = tmp_path / "home"
    furnish(home)
    with serving(home) as server, server.client() as client:
        client.auth = ("root", PASSWORD)
        token = client.post("/api/tokens/", json={"name": "t"}).json()["token"]
        client.auth, client.headers["Authorization"] = None, f"Token {token}"
        client.timeout = 120
        memory = Memory(server.process.pid)
        memory.reset()

        with (net / "net.pt").open("rb") as file:
            made = client.post("/api/models/", data={"name": "large"}, files={"model_file": ("net.pt", file)})
        assert made.status_code == 201, made.text
        model = made.json()["model_id"]
        grown = {"upload": memory.growth()}

        memory.reset()
        assert received(client, f"/api/models/{model}/", tmp_path / "first.pt") == (net / "net.pt").stat().st_size
        grown["download"] = memory.growth()

        one_round(client, model, net / "trained.safetensors")
        memory.reset()
        received(client, f"/api/models/{model}/", tmp_path / "second.pt")
        grown["render"] = memory.growth()

    state = torch.jit.load(io.BytesIO((tmp_path / "second.pt").read_bytes())).state_dict()
    wanted = load_file(net / "trained.safetensors")
    assert all(np.array_equal(np.asarray(array), wanted[name]) for name, array in state.items())
    assert all(size < ROOM for size in grown.values()), grown


def received(client, url, path):
    """Download to a file; its size."""
    with client.stream("GET", url) as response, path.open("wb") as file:
        assert response.status_code == 200
        for piece in response.iter_bytes(2**20):
            file.write(piece)
    return path.stat().st_size


def one_round(client, model, update):
    """Train the model for a round, in which its only client sends this update."""
    me = client.get("/api/users/myself/").json()["id"]
    body = {"model_id": model, "plan": {"rounds": 1, "evaluation": {"every": 0}}, "clients": [me]}
    training = client.post("/api/trainings/", json=body).json()["training_id"]
    assert client.post(f"/api/trainings/{training}/start/").status_code == 202
    task = client.post("/api/tasks/next/?wait=20", json={"instance": "laptop"}).json()["id"]
    content = update.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    assert client.put(f"/api/tasks/{task}/update/{digest}/", content=content).status_code == 200
    report = {"num_examples": 1, "digest": digest}
    assert client.post(f"/api/tasks/{task}/report/", json=report).status_code == 200
    record = client.get(f"/api/trainings/{training}/").json()
    while record["status"] != "completed":
        record = client.get(f"/api/trainings/{training}/?wait=20&revision={record['revision']}").json()
