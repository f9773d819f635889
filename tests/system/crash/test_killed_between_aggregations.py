"""Killed in a round whose models travel on, and while moments are averaged: versions and moments keep their bits."""

import os
from pathlib import Path

import pytest
from crash_federation import CLIENTS, Federation, federation

from support import databases
from system.processes import eventually

PLAN = {
    "rounds": 6,
    "seed": 20261122,
    "daisy_chain": {"period": 3},
    "uncertainty": {"method": "swag"},
    "evaluation": {"every": 0},
    "closing": {"min_reports": CLIENTS},
}
RELAYED, AGGREGATED = 2, 3


def moments(of: Federation) -> list[str]:
    """The digests of the moments of all versions that were made."""
    query = "SELECT moments_id FROM registry_modelversion WHERE number > 0 ORDER BY number"
    return [digest for (digest,) in databases.rows(of.server.home, query)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[str]]:
    """The digests of all versions and all moments of a training in which nothing happened."""
    with federation(tmp_path_factory.mktemp("undisturbed"), PLAN) as quiet:
        for gate in ("gate", "moments-gate"):
            (quiet.room / gate).touch()
        quiet.finish()
        return quiet.digests(), moments(quiet)


@pytest.mark.slow
def test_kills_in_a_relayed_round_and_while_moments_are_averaged_change_no_bit(
    undisturbed: tuple[list[str], list[str]], tmp_path: Path
) -> None:
    with federation(tmp_path, PLAN) as shaken:
        kill_in_the_relayed_round(shaken)
        kill_while_moments_are_averaged(shaken)
        shaken.finish()

        assert (shaken.digests(), moments(shaken)) == undisturbed
        assert len(set(moments(shaken))) == 2, "each version has moments of its own"
        rounds = shaken.rounds()
        assert [(each.attempt, each.reported) for each in rounds] == [(1, CLIENTS)] * 6, "no round was begun anew"
        assert [each.version for each in rounds] == [None, None, 1, None, None, 2]


def kill_in_the_relayed_round(shaken: Federation) -> None:
    """Two clients in mid-training, and the server, in a round that goes on from local models and hands them on."""
    held = [shaken.clients[1], shaken.clients[3]]
    for number in (1, 3):
        eventually((shaken.room / f"held-{number}").exists, f"client {number} trains in round {RELAYED}")
    eventually(
        lambda: shaken.api.round(shaken.training, RELAYED).reported == CLIENTS - len(held), "the others have reported"
    )
    for client in held:
        client.kill()
    shaken.server.kill()
    shaken.server.start()
    (shaken.room / "gate").touch()
    for client in held:
        client.start()


def kill_while_moments_are_averaged(shaken: Federation) -> None:
    """The server hangs at the file of one client's moments, which is a pipe meanwhile, and is killed there."""
    eventually((shaken.room / "held-4").exists, "client 4 gathers moments")
    eventually(lambda: len(sent(shaken)) == CLIENTS - 1, "the others have sent theirs")
    digest = sent(shaken)[0]
    file = shaken.server.home / "blobs" / digest[:2] / digest[2:4] / digest
    aside = file.rename(shaken.room / "aside")
    os.mkfifo(file)
    (shaken.room / "moments-gate").touch()
    eventually(lambda: shaken.api.round(shaken.training, AGGREGATED).state == "combining", "moments are averaged")
    shaken.server.kill()
    file.unlink()
    aside.rename(file)
    shaken.server.start()


def sent(shaken: Federation) -> list[str]:
    """The digests of the moments that have come, in canonical order."""
    tasks = shaken.api.round(shaken.training, AGGREGATED).tasks
    return [task.digest for task in tasks if task.kind == "swag" and task.digest is not None]
