"""`benchmarks/rounds.py` trains for real, sees whether the right version came out, and says what it cannot do."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


def run(*options):
    command = [sys.executable, BENCHMARKS / "rounds.py", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_rounds_have_seconds_bytes_and_memory_and_nothing_is_left_behind(tmp_path):
    done = run("--clients", "2", "--params", "1000", "--rounds", "2", "--json", "--folder", str(tmp_path))

    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert len(figures["seconds_per_round"]) == 2
    assert min(figures["seconds_per_round"]) <= figures["seconds_per_round_median"] <= max(figures["seconds_per_round"])
    assert figures["bytes"] > 2 * 2 * 2 * 4000  # up and down, of two clients, in two rounds
    assert figures["server_rss_anon_mib"] > 0
    assert figures["peer"] is figures["ratio"] is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "other", [["--rule", "median"], ["--encoding", "float16"], ["--evaluate", "on"]], ids=lambda other: other[0]
)
def test_a_peer_does_what_both_can_do(other):
    done = run("--peer", "flower", *other)

    assert done.returncode == 2
    assert "--peer does FedAvg with whole params and no evaluation" in done.stderr


def test_params_of_the_peer_that_are_not_the_ones_that_must_come_out_are_no_result(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import flower
    from clients import STEP
    from harness import BenchmarkError

    first = {"a": np.zeros(3, np.float32), "b": np.ones(2, np.float32)}
    for name, steps in (("right", 2), ("wrong", 1)):
        np.savez(tmp_path / f"{name}.npz", **{key: array + np.float32(steps * STEP) for key, array in first.items()})

    flower.check_result(first, tmp_path / "right.npz", rounds=2)
    with pytest.raises(BenchmarkError, match="wrong in 'a'"):
        flower.check_result(first, tmp_path / "wrong.npz", rounds=2)
