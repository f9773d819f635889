"""A training whose server and two of five clients are killed gives the bits of one that nobody disturbed."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from hansa.client.api import Api
from hansa.core.mean import weighted_mean
from hansa.formats import safetensors
from hansa.protocol.trainings import Round, TrainingCreate
from system.processes import ClientProcess, Server, end, eventually, serving

CLIENTS = 5
ROUNDS = 4
DISTURBED_ROUND = 2
PLAN = {"rounds": ROUNDS, "seed": 20261122, "keep_updates": ROUNDS, "closing": {"min_reports": CLIENTS}}


@dataclass
class Federation:
    server: Server
    api: Api
    training: str
    model: str
    room: Path
    clients: list[ClientProcess]

    def rounds(self) -> list[Round]:
        return [self.api.round(self.training, number) for number in range(1, ROUNDS + 1)]

    def digests(self) -> list[str]:
        return [version.digest for version in self.api.versions(self.model)]

    def finish(self) -> None:
        record = self.api.training(self.training)
        while record.status == "ongoing":
            record = self.api.training(self.training, wait=30, revision=record.revision)
        assert record.status == "completed", record.reason


@contextmanager
def federation(folder: Path) -> Iterator[Federation]:
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
            client = ClientProcess(
                server, folder / f"client-{number}", "crash_trainer:trainer", token, {"CRASH_ROOM": str(room)}
            )
            clients.append(client)
            client.start()
            cleanup.callback(lambda client=client: end(client.process))
        names = [f"client-{number}" for number in range(CLIENTS)]
        training = api.create_training(TrainingCreate(model_id=model, plan=PLAN, clients=names)).training_id
        api.start(training)
        yield Federation(server, api, training, model, room, clients)


def write_model(path: Path) -> None:
    rng = np.random.default_rng(1)
    params = {
        "dense.weight": rng.normal(size=(300, 50)).astype(np.float32),
        "dense.bias": rng.normal(size=300).astype(np.float64),
        "seen": np.int64(0).reshape(()),
    }
    with path.open("wb") as file:
        safetensors.write(file, params, frozenset({"seen"}))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The digests of all versions of a training in which nothing happened."""
    with federation(tmp_path_factory.mktemp("undisturbed")) as quiet:
        (quiet.room / "gate").touch()
        quiet.finish()
        return quiet.digests()


@pytest.mark.slow
def test_two_clients_and_the_server_are_killed_and_every_version_has_the_same_bits(
    undisturbed: list[str], tmp_path: Path
) -> None:
    with federation(tmp_path) as shaken:
        held = [shaken.clients[1], shaken.clients[3]]
        eventually((shaken.room / "held-1").exists, "client 1 trains in round 2")
        eventually((shaken.room / "held-3").exists, "client 3 trains in round 2")
        eventually(
            lambda: shaken.api.round(shaken.training, DISTURBED_ROUND).reported == CLIENTS - len(held),
            "the others have reported",
        )
        for client in held:
            client.kill()
        before = shaken.server.pid
        shaken.server.kill()
        shaken.server.start()
        assert shaken.server.pid != before
        (shaken.room / "gate").touch()
        for client in held:
            client.start()
        shaken.finish()

        assert shaken.digests() == undisturbed
        rounds = shaken.rounds()
        assert [round_.attempt for round_ in rounds] == [1] * ROUNDS, "no round was begun anew"
        assert all(round_.reported == CLIENTS for round_ in rounds)
        # What was acknowledged was not asked for again: only those who were killed in training trained twice.
        times = [len((shaken.room / f"trained-2-{ordinal}").read_text()) for ordinal in range(CLIENTS)]
        assert times == [1, 2, 1, 2, 1]
        the_order_of_arrival_would_have_given_other_bits(shaken, tmp_path)


def the_order_of_arrival_would_have_given_other_bits(shaken: Federation, folder: Path) -> None:
    """The test's own proof: with updates summed as they came, the comparison above would have failed."""
    disturbed = shaken.api.round(shaken.training, DISTURBED_ROUND)
    tasks = [task for task in disturbed.tasks if task.kind == "train"]
    assert [task.ordinal for task in tasks] == list(range(CLIENTS))
    arrived = sorted(tasks, key=lambda task: task.reported_at or "")
    assert {task.ordinal for task in arrived[-2:]} == {1, 3}, "those who were killed came last"

    shaken.api.download(shaken.model, DISTURBED_ROUND, folder / "version.safetensors")
    version = safetensors.read(folder / "version.safetensors")
    canonical, arrival = (mean(shaken.server.home, order) for order in (tasks, arrived))
    assert all(np.array_equal(canonical[name], version[name]) for name in version)
    assert any(not np.array_equal(arrival[name], version[name]) for name in version)


def mean(home: Path, tasks: list) -> dict[str, np.ndarray]:
    """The round's mean from the stored updates, summed in the order given."""
    updates = [safetensors.read(home / "blobs" / t.digest[:2] / t.digest[2:4] / t.digest) for t in tasks]
    means = {name: np.empty_like(array) for name, array in updates[0].items()}
    for name, out in means.items():
        weighted_mean([update[name] for update in updates], [task.num_examples for task in tasks], out)
    return means
