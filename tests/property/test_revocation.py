"""No credential is accepted by a request that began after the call which revoked it had returned.

Requests go through the real authenticators and overlap with each other and with writers of every kind: services, the
ORM one by one and in bulk, raw SQL, transactions that are rolled back, and connections that Django does not know of.
"""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from credential_machine import Credentials
from django.db import connection, connections
from django.test import override_settings
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from stepwise import Stepwise
from writers import by_sqlite3

from hansa.server.accounts.credentials.changes import note_writes
from hansa.server.accounts.credentials.postgresql import PostgresqlSource
from hansa.server.accounts.credentials.sqlite import SqliteSource
from support.credentials import django_parameters, routed_to
from support.databases import only_sqlite

# A failure is shown as it was found: to shrink it by a real database takes longer than a test may.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)


def run(machine: type[Credentials], examples: int) -> None:
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples, stateful_step_count=30, deadline=None, print_blob=True, phases=PHASES
            ),
        )


@pytest.fixture
def file(transactional_db: None) -> Path:
    return Path(connection.settings_dict["NAME"])


@only_sqlite
def test_on_sqlite(file: Path) -> None:
    class OnSqlite(Credentials):
        source = staticmethod(partial(SqliteSource, file, connection))
        foreign = staticmethod(by_sqlite3(file))

    run(OnSqlite, 25)


@only_sqlite
def test_where_only_this_process_s_changes_are_noted_and_every_lookup_may_be_overtaken(file: Path) -> None:
    class Overtaken(Credentials):
        source = staticmethod(lambda: Stepwise(SqliteSource(file, connection)))
        watched = staticmethod(lambda: connection.execute_wrapper(note_writes))

    run(Overtaken, 50)


def test_on_postgresql(postgres_url: str, django_db_setup: None, django_db_blocker: Any) -> None:
    with django_db_blocker.unblock(), routed_to(django_parameters(postgres_url)) as alias:

        class OnPostgresql(Credentials):
            source = staticmethod(lambda: PostgresqlSource(connections[alias]))

        run(OnPostgresql, 10)
