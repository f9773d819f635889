"""Rows are the same values from SQLite and from PostgreSQL, so that one verifier reads both."""

import sqlite3
from contextlib import closing
from uuid import UUID

import psycopg
import pytest

from hansa.cli import main
from hansa.simulation.chaos import tables
from hansa.simulation.chaos.tables import TablesError, unpacked

ID = UUID("0123456789abcdef0123456789abcdef")
SCHEMA = (
    "CREATE TABLE blob (sha256 {text} PRIMARY KEY)",
    "CREATE TABLE model (id {id} PRIMARY KEY, plan {json}, file {text} REFERENCES blob(sha256))",
)


@pytest.fixture
def sqlite(tmp_path):
    with closing(sqlite3.connect(tmp_path / "hansa.sqlite3")) as database, database:
        for statement in SCHEMA:
            database.execute(statement.format(text="TEXT", id="CHAR(32)", json="TEXT"))
        database.execute("INSERT INTO blob VALUES ('aa'), ('bb')")
        database.execute("INSERT INTO model VALUES (?, ?, 'aa')", [ID.hex, '{"rounds": 3}'])
    return tmp_path, ""


@pytest.fixture
def postgresql(tmp_path, postgres_url):
    with psycopg.connect(postgres_url) as database:
        for statement in SCHEMA:
            database.execute(statement.format(text="text", id="uuid", json="jsonb"))
        database.execute("INSERT INTO blob VALUES ('aa'), ('bb')")
        database.execute("INSERT INTO model VALUES (%s, %s, 'aa')", [ID, '{"rounds": 3}'])
    return tmp_path, postgres_url


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request):
    return request.getfixturevalue(request.param)


def test_ids_and_json_are_read_alike(place):
    with tables.opened(*place) as database:
        (row,) = database.rows("SELECT id, plan, file FROM model")
    assert {**row, "plan": unpacked(row["plan"])} == {"id": ID.hex, "plan": {"rounds": 3}, "file": "aa"}


def test_what_is_referred_to_is_found_by_the_schema(place):
    with tables.opened(*place) as database:
        assert list(database.references("blob")) == ["aa"]
        assert list(database.references("model")) == []
        assert list(database.orphans()) == []


def test_orphans_of_sqlite_are_told(sqlite):
    with closing(sqlite3.connect(sqlite[0] / "hansa.sqlite3")) as database, database:
        database.execute("UPDATE model SET file = 'gone'")
    with tables.opened(*sqlite) as database:
        assert list(database.orphans()) == ["row 1 of model points to a row of blob that is not there"]


def test_what_cannot_be_opened_is_one_error(tmp_path):
    for url in ("", f"postgresql://me@/hansa?host={tmp_path}"):
        with pytest.raises(TablesError), tables.opened(tmp_path, url) as database:
            list(database.references("blob"))


@pytest.mark.parametrize(
    ("url", "said"), [("mysql://x", "--database-url cannot be used"), ("postgresql:///x?host={}", "cannot be asked")]
)
def test_a_storm_is_refused_a_database_that_it_cannot_use(url, said, tmp_path, capsys):
    assert main(["chaos", "--kills", "1", "--database-url", url.format(tmp_path)]) == 1
    assert said in capsys.readouterr().err


def test_a_storm_is_refused_a_database_that_is_somebodys(postgresql, capsys):
    assert main(["chaos", "--kills", "1", "--database-url", postgresql[1]]) == 1
    assert "has 2 tables already" in capsys.readouterr().err
