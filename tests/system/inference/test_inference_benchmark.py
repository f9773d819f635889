"""benchmarks/inference.py runs, and every figure of it is there; what they are no test says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).resolve().parents[3] / "benchmarks" / "inference.py"


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_benchmark_asks_a_real_server_and_tells_all_its_figures():
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "--short", "--json"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {"first_ms", "above_plain_ms", "open_p99_ms", "closed_per_second", "closed_cpu_ms"} <= found.keys()
    assert all(value > 0 for name, value in found.items() if name not in ("load_average", "closed_cpu_ms"))
