"""A server on a real PostgreSQL: a training through a kill, one server to a database, and what it says in trouble."""

from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from postgres_server import ServerOnPostgres

from hansa.formats import safetensors
from hansa.protocol.trainings import TrainingCreate
from support.serving import refusal
from system.processes import PASSWORD, ClientProcess, end, eventually

ROOT = Path(__file__).parents[3]


@pytest.fixture
def server(postgres, signed_up, tmp_path):
    with postgres.database(like=signed_up) as url:
        server = ServerOnPostgres(tmp_path / "home", database=url)
        server.start()
        yield server
        end(server.process)


@pytest.fixture
def server_on_nothing(postgres_url, tmp_path):
    server = ServerOnPostgres(tmp_path / "home", database=postgres_url)
    server.start()
    yield server
    end(server.process)


def test_a_server_makes_its_tables_and_knows_who_was_signed_up_by_a_command(server_on_nothing):
    server = server_on_nothing
    server.sign_up_root()
    with httpx.Client(base_url=server.url, auth=("root", PASSWORD)) as client:
        assert client.get("/api/users/myself/").json()["username"] == "root"
    assert not (server.home / "hansa.sqlite3").exists()


def test_a_training_goes_on_where_a_killed_server_left_it(server, api, tmp_path):
    room, first = tmp_path / "room", tmp_path / "first.safetensors"
    room.mkdir()
    with first.open("wb") as file:
        safetensors.write(file, {"w": np.zeros(1000, np.float32)})
    model = api.create_model(first, name="net").model_id
    names = ["anna", "bert"]  # Bert holds round 2 until the gate is open
    with ExitStack() as cleanup:
        for name in names:
            token = api.enroll(api.invite(name).code).token
            client = ClientProcess(server, tmp_path / name, "crash_trainer:trainer", token, {"CRASH_ROOM": str(room)})
            client.start()
            cleanup.callback(lambda client=client: end(client.process))
        plan = {"rounds": 3, "seed": 1, "closing": {"min_reports": 2}}
        training = api.create_training(TrainingCreate(model_id=model, plan=plan, clients=names)).training_id
        api.start(training)
        eventually((room / "held-1").exists, "Bert trains in round 2")
        eventually(lambda: api.round(training, 2).reported == 1, "Anna has reported")

        server.kill()
        server.start()
        (room / "gate").touch()
        record = api.training(training)
        while record.status == "ongoing":
            record = api.training(training, wait=30, revision=record.revision)

    assert record.status == "completed", record.reason
    assert [round_.reported for round_ in api.rounds(training)] == [2, 2, 2]
    assert [version.number for version in api.versions(model)] == [0, 1, 2, 3]
    times = [len((room / f"trained-2-{ordinal}").read_text()) for ordinal in range(2)]
    assert times == [1, 1], "nobody trained twice"


def test_connections_that_postgresql_has_ended_cost_nobody_a_request(server, api, postgres):
    name = urlsplit(server.database).path[1:]
    assert api.tokens()

    postgres.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")  # noqa: S608  # ours

    assert api.tokens()
    assert api.create_token("after", None).token


def test_a_second_server_on_the_database_is_refused_from_whatever_folder(server, tmp_path):
    told = refusal(tmp_path / "other", {"HANSA_DATABASE_URL": server.database})

    assert told.startswith("Another server works on the PostgreSQL database 'hansa_")
    assert "HANSA_DATABASE_URL" in told


def test_a_postgresql_that_is_not_there_is_told_in_one_line_without_the_password(tmp_path):
    url = f"postgresql://me:hunter2@/hansa?host={tmp_path}"

    told = refusal(tmp_path / "home", {"HANSA_DATABASE_URL": url})

    assert told.startswith(f"The PostgreSQL database 'hansa' on {tmp_path} cannot be opened")
    assert "HANSA_DATABASE_URL" in told
    assert "hunter2" not in told


def test_a_database_that_does_not_exist_is_named(postgres, tmp_path):
    told = refusal(tmp_path / "home", {"HANSA_DATABASE_URL": postgres.beside("nowhere")})

    assert 'database "nowhere" does not exist' in told
