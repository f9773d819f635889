"""A training whose server and two of five clients are killed gives the bits of one that nobody disturbed."""

from pathlib import Path

import numpy as np
import pytest
from crash_federation import CLIENTS, Federation, federation

from hansa.core.mean import weighted_mean
from hansa.formats import safetensors
from system.processes import eventually

ROUNDS = 4
DISTURBED_ROUND = 2
PLAN = {"rounds": ROUNDS, "seed": 20261122, "keep_updates": ROUNDS, "closing": {"min_reports": CLIENTS}}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The digests of all versions of a training in which nothing happened."""
    with federation(tmp_path_factory.mktemp("undisturbed"), PLAN) as quiet:
        (quiet.room / "gate").touch()
        quiet.finish()
        return quiet.digests()


@pytest.mark.slow
def test_two_clients_and_the_server_are_killed_and_every_version_has_the_same_bits(
    undisturbed: list[str], tmp_path: Path
) -> None:
    with federation(tmp_path, PLAN) as shaken:
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
