"""A server, five clients at work, and a training of theirs: all processes of their own, which a test may kill."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hansa.client.api import Api
from hansa.formats import safetensors
from hansa.protocol.trainings import Round, TrainingCreate
from system.processes import ClientProcess, Server, end, serving

CLIENTS = 5


@dataclass
class Federation:
    server: Server
    api: Api
    training: str
    model: str
    room: Path
    clients: list[ClientProcess]
    plan: dict

    def rounds(self) -> list[Round]:
        return [self.api.round(self.training, number) for number in range(1, self.plan["rounds"] + 1)]

    def digests(self) -> list[str]:
        return [version.digest for version in self.api.versions(self.model)]

    def finish(self) -> None:
        record = self.api.training(self.training)
        while record.status == "ongoing":
            record = self.api.training(self.training, wait=30, revision=record.revision)
        assert record.status == "completed", record.reason


@contextmanager
def federation(folder: Path, plan: dict, trainer: str = "crash_trainer:trainer") -> Iterator[Federation]:
    """A server, five enrolled clients at work, and a started training."""
    room = folder / "room"
    room.mkdir(parents=True)
    with serving(folder / "server") as server, ExitStack() as cleanup:
        api = server.admin()
        first = folder / "first.safetensors"
        write_model(first)
        model = api.create_model(first, name="crash", buffers=["seen"]).model_id
        clients = []
        for number in range(CLIENTS):
            token = api.enroll(api.invite(f"client-{number}", 3600.0).code).token
            client = ClientProcess(server, folder / f"client-{number}", trainer, token, {"CRASH_ROOM": str(room)})
            clients.append(client)
            client.start()
            cleanup.callback(lambda client=client: end(client.process))
        names = [f"client-{number}" for number in range(CLIENTS)]
        training = api.create_training(TrainingCreate(model_id=model, plan=plan, clients=names)).training_id
        api.start(training)
        yield Federation(server, api, training, model, room, clients, plan)


def write_model(path: Path) -> None:
    rng = np.random.default_rng(1)
    params = {
        "dense.weight": rng.normal(size=(300, 50)).astype(np.float32),
        "dense.bias": rng.normal(size=300).astype(np.float64),
        "seen": np.int64(0).reshape(()),
    }
    with path.open("wb") as file:
        safetensors.write(file, params, frozenset({"seen"}))
