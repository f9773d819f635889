"""PostgreSQL is killed under a running server: requests are refused with a reason, everybody waits, and goes on."""

import signal
import subprocess
from contextlib import suppress

import httpx
import numpy as np
import psycopg
import pytest
from postgres_server import ServerOnPostgres

from hansa.client.errors import ApiError
from hansa.formats import safetensors
from hansa.protocol.trainings import TrainingCreate
from hansa.server.database import ADVISORY_LOCK
from support.serving import refusal
from system.processes import ClientProcess, end, eventually, hansa

LOCKS = """
    SELECT pid FROM pg_locks
    WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@pytest.fixture
def server(own_postgres, signed_up_there, tmp_path):
    with own_postgres.postgres.database(like=signed_up_there) as url:
        server = ServerOnPostgres(tmp_path / "home", database=url)
        server.start()
        yield server
        own_postgres.start()
        end(server.process)


def log_lines(server, text):
    return [line for line in (server.home.parent / "server.log").read_text().splitlines() if text in line]


def test_while_it_is_away_requests_are_refused_with_a_reason_and_a_time_to_come_again(server, api, own_postgres):
    token = api.create_token("asking", None).token
    own_postgres.end(signal.SIGKILL)

    asking = {"Authorization": f"Token {token}"}
    with httpx.Client(base_url=server.url, headers=asking, cookies={"sessionid": "x" * 32}) as client:
        answers = [client.get(path) for path in ("/api/tokens/", "/api/health/", "/api/trainings/")]
        posted = client.post("/api/tokens/", json={"name": "never"})
        page = client.get("/")
        admin = client.get("/admin/")
        ready, alive = client.get("/readyz"), client.get("/livez")

    for answer in [*answers, posted]:
        assert (answer.status_code, answer.json()["code"]) == (503, "database_away")
        assert int(answer.headers["Retry-After"]) > 0
        assert "send it again" in answer.json()["detail"]
    for shown in (page, admin):
        assert shown.status_code == 503
        assert shown.headers["Content-Type"].startswith("text/html")
        assert "database does not answer" in shown.text
    assert ready.status_code == 503
    assert "HANSA_DATABASE_URL" in ready.json()["checks"]["database"]["do"]
    assert alive.status_code == 200

    own_postgres.start()

    assert [each.name for each in api.tokens()].count("asking") == 1
    assert len(log_lines(server, "The database is away")) == 1
    eventually(lambda: log_lines(server, "The database is back"), "the log says that it is back")
    assert "Traceback" not in (server.home.parent / "server.log").read_text()


def test_the_lock_that_keeps_another_server_away_is_taken_again(server, own_postgres, tmp_path):
    own_postgres.end(signal.SIGKILL)
    own_postgres.start()
    with psycopg.connect(server.database, autocommit=True) as connection:
        eventually(lambda: connection.execute(LOCKS).fetchall(), "the lock is held again")

    told = refusal(tmp_path / "other", {"HANSA_DATABASE_URL": server.database})

    assert told.startswith("Another server works on the PostgreSQL database")


def test_a_server_whose_lock_another_one_has_taken_ends(server):
    with psycopg.connect(server.database, autocommit=True) as another:
        another.execute(f"SELECT pg_terminate_backend(pid) FROM ({LOCKS}) AS held")  # noqa: S608  # ours
        another.execute("SELECT pg_advisory_lock(%s)", [ADVISORY_LOCK])  # granted as soon as that one is gone
        assert server.process.wait(30) == 0

    assert log_lines(server, "Another server works on the database since PostgreSQL was away; this one ends.")


def test_clients_and_whoever_watches_wait_and_go_on_when_it_is_back(server, api, own_postgres, tmp_path):
    room, first = tmp_path / "room", tmp_path / "first.safetensors"
    room.mkdir()
    with first.open("wb") as file:
        safetensors.write(file, {"w": np.zeros(1000, np.float32)})
    model = api.create_model(first, name="net").model_id
    clients = [
        ClientProcess(server, tmp_path / name, "crash_trainer:trainer", api.enroll(api.invite(name).code).token, {})
        for name in ("anna", "bert")
    ]
    watching = None
    try:
        for client in clients:  # Bert, the second, holds round 2 until the gate is open
            client.environment = {"CRASH_ROOM": str(room)}
            client.start()
        plan = {"rounds": 3, "seed": 1, "closing": {"min_reports": 2}}
        training = api.create_training(TrainingCreate(model_id=model, plan=plan, clients=["anna", "bert"])).training_id
        api.start(training)
        with (tmp_path / "watched").open("wb") as shown:
            watching = subprocess.Popen(
                hansa("trainings", "watch", training, "--server", server.url),
                stdout=shown,
                stderr=shown,
                env={**server.environment, "HANSA_TOKEN": api.create_token("watching", None).token},
            )
        eventually((room / "held-1").exists, "Bert trains in round 2")

        own_postgres.end(signal.SIGKILL)
        (room / "gate").touch()
        eventually(lambda: "database does not answer" in clients[1].log(), "Bert is told")
        own_postgres.start()

        record = api.training(training)
        while record.status == "ongoing":
            with suppress(ApiError):
                record = api.training(training, wait=30, revision=record.revision)
        assert watching.wait(60) == 0
    finally:
        end(watching)
        for client in clients:
            end(client.process)

    assert record.status == "completed", record.reason
    assert [version.number for version in api.versions(model)] == [0, 1, 2, 3]
    assert "training completed" in (tmp_path / "watched").read_text()
    times = [len((room / f"trained-2-{ordinal}").read_text()) for ordinal in range(2)]
    assert times == [1, 1], "nobody trained twice"
    assert len(log_lines(server, "The database is away")) == 1
    assert "Traceback" not in (server.home.parent / "server.log").read_text()
