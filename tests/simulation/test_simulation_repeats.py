"""A seed is a schedule: the same events at the same moments, in any process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulation.memory import play_rounds
from simulation.realm import Realm

TESTS = Path(__file__).parents[1]


def in_another_process(world: str, seed: int, hash_seed: int) -> str:
    """The digest of a schedule's trace, as another Python finds it."""
    command = [sys.executable, "-m", "simulation", world, "--seed", str(seed), "--digest"]
    environ = {**os.environ, "PYTHONPATH": str(TESTS), "PYTHONHASHSEED": str(hash_seed)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("seed", [3, 21])
def test_the_same_seed_gives_the_same_rounds_in_every_process(seed: int) -> None:
    digests = {in_another_process("rounds", seed, hash_seed) for hash_seed in (1, 2)}
    assert digests == {play_rounds(seed).digest()}


def test_the_same_seed_gives_the_same_services_in_every_process(transactional_db: None) -> None:
    realm = Realm()
    digests = [realm.play(5).digest(), realm.play(6).digest(), realm.play(5).digest()]
    assert digests[0] == digests[2] != digests[1]
    assert in_another_process("services", 5, hash_seed=3) == digests[0]


def test_another_seed_is_another_schedule() -> None:
    assert len({play_rounds(seed).digest() for seed in range(20)}) == 20
