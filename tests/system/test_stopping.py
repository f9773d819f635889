"""A server that is asked to end says so by ending: with 0, and nothing in its log that would alarm anybody."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.serving import Serving, furnish, serving


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_asked_to_end_ends_quietly(tmp_path: Path, asked: signal.Signals) -> None:
    with serving(furnish(tmp_path / "home")) as server:
        os.kill(server.process.pid, asked)

        assert server.process.wait(timeout=20) == 0
        told = said(server)

    assert "CRITICAL" not in told
    assert "Traceback" not in told


def test_a_host_that_is_not_ours_is_refused_without_a_traceback_in_the_log(tmp_path: Path) -> None:
    with serving(furnish(tmp_path / "home")) as server:
        with server.client(Host="elsewhere.example") as client, ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: client.get("/api/health/"), range(8)))
        server.stop()
        told = said(server)

    assert {answer.status_code for answer in answers} == {400}
    assert "HANSA_ALLOWED_HOSTS" in answers[0].json()["detail"]
    assert "Traceback" not in told


def said(server: Serving) -> str:
    assert server.process.stdout is not None
    return server.process.stdout.read()
