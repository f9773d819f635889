"""A server that is backed up in the middle of a training, lost, and restored elsewhere ends it with the same bits.

On SQLite; what differs on PostgreSQL is in tests/unit/server/test_backup_postgresql.py.
"""

import json
import subprocess
from pathlib import Path

import pytest
from crash_federation import CLIENTS, federation

from support.databases import only_sqlite
from system.processes import Server, eventually, hansa

ROUNDS = 3
PLAN = {"rounds": ROUNDS, "seed": 20261123, "closing": {"min_reports": CLIENTS}}


def command(server: Server, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A command beside the server, which works on."""
    return subprocess.run(
        hansa(*arguments), env=server.environment, capture_output=True, text=True, check=False, timeout=120
    )


@only_sqlite
@pytest.mark.slow
def test_a_training_goes_on_from_a_backup_on_another_server_and_ends_with_the_same_bits(tmp_path: Path) -> None:
    with federation(tmp_path / "federation", PLAN) as shaken:
        for number in (1, 3):
            eventually((shaken.room / f"held-{number}").exists, f"client {number} trains in round 2")
        made = command(shaken.server, "backup", str(tmp_path / "backup"), "--json")
        assert made.returncode == 0, made.stderr
        assert json.loads(made.stdout)["left_out"] == []
        (shaken.room / "gate").touch()
        shaken.finish()
        expected = shaken.digests()

        shaken.server.kill()
        shaken.server.home = tmp_path / "elsewhere"
        restored = command(shaken.server, "restore", str(tmp_path / "backup"))
        assert restored.returncode == 0, restored.stderr
        assert "hansa serve" in restored.stderr
        shaken.server.start()
        assert shaken.api.training(shaken.training).status == "ongoing"
        shaken.finish()

        assert shaken.digests() == expected
        assert [round_.attempt for round_ in shaken.rounds()] == [1] * ROUNDS, "no round was begun anew"
        doctor = command(shaken.server, "doctor", "--json")
        wrong = [each for each in json.loads(doctor.stdout)["findings"] if each["level"] == "error"]
        assert wrong == []
