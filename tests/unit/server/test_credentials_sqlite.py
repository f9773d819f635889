"""PRAGMA data_version tells of every commit, whoever made it and however."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.utils import timezone

from hansa.server.accounts import services
from hansa.server.accounts.credentials.identities import Lookup
from hansa.server.accounts.credentials.sources import UnavailableError
from hansa.server.accounts.credentials.sqlite import SqliteSource
from hansa.server.accounts.models import Token, User
from hansa.server.accounts.secrets import digest
from hansa.server.lifecycle.bridge import call
from support.databases import only_sqlite

pytestmark = [pytest.mark.usefixtures("transactional_db"), only_sqlite]


@pytest.fixture
async def token():
    user = await call(User.objects.create_user, "ada", password="old")
    return await call(services.create_token, user_id=user.pk, name="test", expires_in_seconds=None, now=timezone.now())


@pytest.fixture
async def source():
    source = SqliteSource(database(), connection)
    yield source
    await source.close()


def database():
    return Path(connection.settings_dict["NAME"])


def by_save():
    User.objects.get(username="ada").save()


def by_bulk_update():
    User.objects.filter(username="ada").update(is_active=False)


def by_deletion():
    Token.objects.all().delete()


def by_cascade():
    User.objects.get(username="ada").delete()


def by_raw_sql():
    with connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_user SET password = 'x'")


def by_transaction():
    with transaction.atomic():
        by_bulk_update()


def by_driver():
    writer = sqlite3.connect(database())
    writer.execute("DELETE FROM accounts_token")
    writer.commit()
    writer.close()


def by_another_process():
    program = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit()"
    subprocess.run([sys.executable, "-c", program, str(database()), "DELETE FROM accounts_token"], check=True)


@pytest.mark.parametrize(
    "write",
    [by_save, by_bulk_update, by_deletion, by_cascade, by_raw_sql, by_transaction, by_driver, by_another_process],
)
async def test_the_version_changes_with_every_commit(source, token, write):
    before = source.version()
    assert source.version() == before

    await call(write)

    assert source.version() != before
    assert source.version() == source.version()


async def test_the_version_does_not_change_before_the_commit(source, token):
    def write():
        with transaction.atomic():
            by_bulk_update()
            inside.append(source.version())

    inside = []
    before = source.version()
    await call(write)

    assert inside == [before]
    assert source.version() != before


async def test_the_version_of_another_connection_is_another_version(source, token):
    """Their numbers say nothing about each other."""
    before = source.version()
    await source.close()

    assert source.version() != before


@pytest.mark.parametrize(("lookup", "key"), [(Lookup.NAME, "ada"), (Lookup.TOKEN, None)])
async def test_a_lookup_sees_what_was_committed_before_it(source, token, lookup, key):
    key = key or digest(token.text)
    assert (await source.find(lookup, key)).is_active
    await call(by_bulk_update)

    assert not (await source.find(lookup, key)).is_active


@pytest.mark.parametrize("name", ["ADA", "ada ", "a%", "", "ada\0", "x' OR '1'='1"])
async def test_names_are_compared_exactly(source, token, name):
    assert await source.find(Lookup.NAME, name) is None


@pytest.mark.parametrize("lookup", list(Lookup))
async def test_a_lookup_goes_by_an_index(source, token, lookup):
    from hansa.server.accounts.credentials.rows import statement

    plan = source._fetch(f"EXPLAIN QUERY PLAN {statement(lookup, '?')}", "x")

    assert plan
    assert all("USING INDEX" in step[-1] for step in plan), plan


async def test_the_connection_can_write_nothing(source, token):
    with pytest.raises(UnavailableError, match="readonly"):
        source._fetch("DELETE FROM accounts_token")

    assert await call(Token.objects.count) == 1


async def test_a_database_locked_by_somebody_is_not_waited_for(source, token, tmp_path):
    """As while a file without WAL is written: the ORM may wait for that, the event loop may not."""
    file = tmp_path / "locked.sqlite3"
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("CREATE TABLE some (thing)")
    holder.execute("BEGIN EXCLUSIVE")
    locked = SqliteSource(file, connection)

    with pytest.raises(UnavailableError, match="locked"):
        locked.version()

    holder.execute("COMMIT")
    assert locked.version() == locked.version(), "and afterwards it is opened anew"
    await locked.close()
    holder.close()
