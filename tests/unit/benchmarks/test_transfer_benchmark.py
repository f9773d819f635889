"""`benchmarks/transfer.py` moves files between real processes, and says what it cannot measure."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[3] / "benchmarks" / "transfer.py"


def run(*options):
    return subprocess.run([sys.executable, PROGRAM, *options], capture_output=True, text=True, check=False)


def test_every_way_has_a_rate_and_nothing_is_left_behind(tmp_path):
    done = run("--sizes", "0.3", "--repeats", "2", "--json", "--folder", str(tmp_path))

    assert done.returncode == 0, done.stderr
    (figures,) = json.loads(done.stdout)
    assert figures["repeats"] == 2
    assert 300_000 <= figures["bytes"] < 301_000
    assert all(
        figures[name] > 0 for name in ("down", "up", "copy", "down_of_copy", "up_of_copy", "memory_mib", "grown_mib")
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--sizes", "0"], "'0' is not a number of megabytes from 0.001 to 100,000"),
        (["--repeats", "many"], "'many' is not a number of repeats from 1 to 1,000"),
    ],
)
def test_what_it_is_asked_for_has_to_make_sense(options, words):
    done = run(*options)
    assert done.returncode == 2
    assert words in done.stderr
