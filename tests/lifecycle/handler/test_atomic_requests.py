"""ATOMIC_REQUESTS on PostgreSQL: a request's writes are all there or none, in every kind of view, also in a crowd."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.postgres import Postgres

THREADS = 4
MANY = 200
AFTERWARDS = 5 * THREADS
PLAIN = ("plain", "of-drf", "plain-api")
AWAITED = ("awaited", "awaited-api", "mixed-api")


@pytest.fixture(scope="module")
def seen(postgres: Postgres) -> Any:
    """What the project saw in all scenarios; see `atomic_project`."""
    folder = Path(__file__).parent
    with postgres.database() as url:
        done = subprocess.run(
            [sys.executable, str(folder / "atomic_project.py"), url],
            env={**os.environ, "PYTHONPATH": str(folder.parents[1])},
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    print(done.stdout)  # shown when a test fails: it has the seed
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", [*PLAIN, *AWAITED])
def test_200_requests_at_once_that_succeed_leave_200_rows(seen: Any, kind: str) -> None:
    assert seen[f"{kind} succeeds"]["statuses"] == [200]
    assert seen[f"{kind} succeeds"]["rows"] == MANY


@pytest.mark.parametrize("kind", [*PLAIN, *AWAITED])
def test_200_requests_at_once_that_write_and_raise_leave_none(seen: Any, kind: str) -> None:
    assert seen[f"{kind} fails"]["statuses"] == [500]
    assert seen[f"{kind} fails"]["rows"] == 0


@pytest.mark.parametrize("kind", ["of-drf", "plain-api", "awaited-api", "mixed-api"])
def test_200_requests_whose_error_drf_answers_leave_none(seen: Any, kind: str) -> None:
    assert seen[f"{kind} refuses"]["statuses"] == [500]
    assert seen[f"{kind} refuses"]["rows"] == 0


@pytest.mark.parametrize("way", ["left", "cancelled"])
@pytest.mark.parametrize("kind", AWAITED)
def test_requests_given_up_after_they_wrote_leave_nothing_behind(seen: Any, kind: str, way: str) -> None:
    figures = seen[f"{kind} {way}"]

    assert (figures["sent"], figures["rows"], figures["in transaction"]) == (0, 0, 0)
    assert (figures["afterwards"]["statuses"], figures["afterwards"]["rows"]) == ([200], AFTERWARDS)


def test_a_request_given_up_at_any_moment_leaves_no_transaction_open(seen: Any) -> None:
    figures = seen["cancelled anywhere"]

    assert figures["afterwards"]["statuses"] == [200], figures
    assert figures["afterwards"]["in transaction"] == 0, figures
    assert figures["afterwards"]["rows"], figures  # whoever got an answer has its row


def test_there_are_never_more_connections_than_threads(seen: Any) -> None:
    assert {each["connections"] for each in seen.values() if "connections" in each} <= set(range(THREADS + 1))
    assert seen["cancelled anywhere"]["afterwards"]["connections"] <= THREADS


def test_no_request_leaves_a_transaction_open(seen: Any) -> None:
    assert {each["in transaction"] for each in seen.values() if "in transaction" in each} == {0}
