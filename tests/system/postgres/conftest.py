"""Databases with an administrator in them, and who calls the server of a test."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from postgres_server import ServerOnPostgres

from support.postgres import Postgres


@contextmanager
def signed_up_on(postgres: Postgres, home: Path) -> Iterator[str]:
    """The name of a database with all tables and the superuser `root`: what takes seconds is done once."""
    with postgres.database() as url:
        ServerOnPostgres(home, database=url).sign_up_root()
        yield urlsplit(url).path[1:]


@pytest.fixture(scope="session")
def signed_up(postgres, tmp_path_factory):
    with signed_up_on(postgres, tmp_path_factory.mktemp("signed-up") / "home") as name:
        yield name


@pytest.fixture(scope="module")
def signed_up_there(own_postgres, tmp_path_factory):
    """The same on the PostgreSQL of a module."""
    with signed_up_on(own_postgres.postgres, tmp_path_factory.mktemp("signed-up-there") / "home") as name:
        yield name


@pytest.fixture
def api(server):
    api = server.admin()
    yield api
    api.transport.close()
