"""`benchmarks/aggregate.py` runs, and tells all its figures."""

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).resolve().parents[3] / "benchmarks" / "aggregate.py"


def test_it_measures_a_rule_over_files_that_stand_for_more_updates(tmp_path):
    options = ["--updates", "3", "--files", "2", "--params", "5000", "--rules", "median", "--json"]
    done = subprocess.run(
        [sys.executable, PROGRAM, *options, "--folder", tmp_path], capture_output=True, text=True, check=True
    )

    (figures,) = json.loads(done.stdout)
    assert (figures["rule"], figures["updates"], figures["files"]) == ("median", 3, 2)
    assert all(figures[name] > 0 for name in ("seconds", "gigabytes_per_second", "of_plain_read", "own_mib"))
    assert figures["peak_mib"] >= figures["own_mib"]
    assert not list(tmp_path.iterdir())
