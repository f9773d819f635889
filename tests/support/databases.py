"""The database of a server that a test starts: SQLite in its home, or one of its own on the PostgreSQL of the tests.

With HANSA_TEST_DATABASE_URL set every server that tests start works on PostgreSQL. Its database belongs to its home:
a server that is started again finds its rows, another home begins empty.
"""

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.postgres import VARIABLE, Postgres

LOCKED_TABLE = "blobs_blob"
"""Of which everything that writes a file's row writes a row."""

Row = tuple[Any, ...]  # Any: as the database gives its columns

_made: set[str] = set()

only_sqlite = pytest.mark.skipif(VARIABLE in os.environ, reason="its subject is SQLite; this run is on PostgreSQL")


def settings_of(home: Path) -> Mapping[str, str]:
    """The settings of a server of this home that name its database."""
    if not (url := os.environ.get(VARIABLE)):
        return {}
    name = _name_of(home)
    if name not in _made:
        _make(name, like="template0")
    return {"HANSA_DATABASE_URL": Postgres(url).beside(name)}


def copy_home(home: Path, to: Path) -> None:
    """A home like another one whose server does not run: its files and its rows."""
    shutil.copytree(home, to)
    if on_postgresql():
        _make(_name_of(to), like=_name_of(home))


def _make(name: str, *, like: str) -> None:
    server = Postgres(os.environ[VARIABLE])
    server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    server.execute(f"CREATE DATABASE {name} TEMPLATE {like}")
    _made.add(name)


@pytest.fixture(scope="session", autouse=True)
def databases_of_servers() -> Iterator[None]:
    """Drop them when all tests are done."""
    yield
    drop_all()


def drop_all() -> None:
    """Drop what was made for homes on PostgreSQL, whoever is still connected."""
    while _made:
        Postgres(os.environ[VARIABLE]).execute(f"DROP DATABASE IF EXISTS {_made.pop()} WITH (FORCE)")


def rows(home: Path, statement: str, parameters: Sequence[object] = ()) -> list[Row]:
    """What a query of the server's database gives; its placeholders are question marks."""
    with _connected(home) as connection:
        found: list[Row] = connection.execute(_placed(statement), list(parameters)).fetchall()
        return found


def change(home: Path, statement: str, parameters: Sequence[object] = ()) -> int:
    """Change rows behind the server's back; how many were changed."""
    with _connected(home) as connection:
        changed: int = connection.execute(_placed(statement), list(parameters)).rowcount
        connection.commit()
        return changed


@contextmanager
def unwritable(home: Path) -> Iterator[None]:
    """Until the end of the block whoever would write the row of a blob has to wait."""
    with _connected(home) as connection:
        connection.execute(
            f"LOCK TABLE {LOCKED_TABLE} IN EXCLUSIVE MODE" if on_postgresql() else "BEGIN IMMEDIATE",
        )
        yield
        connection.rollback()


def tables(home: Path) -> list[str]:
    """The names of all tables."""
    listed = (
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        if on_postgresql()
        else "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    )
    return sorted(name for (name,) in rows(home, listed))


def on_postgresql() -> bool:
    """Whether servers that tests start work on PostgreSQL."""
    return bool(os.environ.get(VARIABLE))


def _name_of(home: Path) -> str:
    return f"hansa_{hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:20]}"


def _placed(statement: str) -> str:
    return statement.replace("?", "%s") if on_postgresql() else statement


@contextmanager
def _connected(home: Path) -> Iterator[Any]:  # Any: a connection, whose methods used here both drivers share
    if on_postgresql():
        import psycopg

        with psycopg.connect(settings_of(home)["HANSA_DATABASE_URL"]) as connection:
            yield connection
    else:
        with closing(sqlite3.connect(home / "hansa.sqlite3", timeout=20)) as connection:
            yield connection
