"""PostgreSQL is asked by a connection of our own, which may break."""

import asyncio

import psycopg
import pytest
from django.db import connections, transaction
from django.utils import timezone

from hansa.server.accounts import services
from hansa.server.accounts.credentials.directory import Directory
from hansa.server.accounts.credentials.identities import Lookup
from hansa.server.accounts.credentials.postgresql import PostgresqlSource
from hansa.server.accounts.credentials.sources import UnavailableError
from hansa.server.accounts.models import Token, User
from hansa.server.lifecycle.bridge import call, read
from support.credentials import django_parameters, routed_to


@pytest.fixture
def alias(postgres_url, django_db_setup, django_db_blocker):
    with django_db_blocker.unblock(), routed_to(django_parameters(postgres_url)) as alias:
        yield alias


@pytest.fixture
async def source(alias):
    source = PostgresqlSource(connections[alias])
    yield source
    await source.close()


@pytest.fixture
async def users(source):
    return Directory(source)


@pytest.fixture
async def text(alias):
    """The text of a token of Ada's."""
    ada = await call(User.objects.create_user, "ada", password="old", last_login=timezone.now(), actor=True)
    return await token_for(ada)


async def token_for(user):
    new = await call(services.create_token, user_id=user.pk, name="test", expires_in_seconds=None, now=timezone.now())
    return new.text


async def test_an_instance_is_as_the_orm_would_have_read_it(users, text):
    by_hand = await users.user_of_token(text, timezone.now)
    by_orm = await read(User.objects.get, username="ada")

    assert vars(by_hand) | {"_state": None} == vars(by_orm) | {"_state": None}
    assert repr(by_hand.last_login) == repr(by_orm.last_login), "in the same time zone"


async def test_what_this_process_changes_is_seen_at_once(users, text):
    assert await users.user_of_token(text, timezone.now)
    await call(User.objects.update, is_active=False)
    assert await users.user_of_token(text, timezone.now) is None
    await call(User.objects.update, is_active=True)
    assert await users.user_of_token(text, timezone.now)
    await call(Token.objects.all().delete)

    assert await users.user_of_token(text, timezone.now) is None


async def test_a_lookup_between_a_change_and_its_commit_leaves_nothing_behind(users, text, alias):
    def deactivate():
        with transaction.atomic(using=alias):
            User.objects.update(is_active=False)
            asyncio.run_coroutine_threadsafe(look(), loop).result(10)

    async def look():
        assert await users.user_of_token(text, timezone.now), "not committed yet"

    loop = asyncio.get_running_loop()
    await call(deactivate)

    assert await users.user_of_token(text, timezone.now) is None


async def test_what_another_process_changes_is_seen_within_two_seconds(source, text, postgres_url):
    now = 100.0
    users = Directory(source, clock=lambda: now)
    assert await users.user_of_token(text, timezone.now)
    with psycopg.connect(postgres_url) as other:
        other.execute("DELETE FROM accounts_token")
    now += 2.0

    assert await users.user_of_token(text, timezone.now) is None


async def test_a_connection_that_the_server_has_cut_is_replaced(source, text, postgres_url):
    first = await pid_of(source)
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", (first,))

    assert (await source.find(Lookup.NAME, "ada")).is_active
    assert await pid_of(source) != first


async def test_a_lookup_that_is_cancelled_leaves_no_connection_that_nobody_can_use(source, text, postgres_url):
    with psycopg.connect(postgres_url) as other:
        other.execute("LOCK TABLE accounts_user IN ACCESS EXCLUSIVE MODE")
        waiting = asyncio.create_task(source.find(Lookup.NAME, "ada"))
        await until_somebody_waits(other)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    assert (await source.find(Lookup.NAME, "ada")).is_active


async def until_somebody_waits(other):
    async with asyncio.timeout(10):
        while other.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() == (0,):  # noqa: ASYNC110  # another process: no event to wait for
            await asyncio.sleep(0.01)


async def test_requests_that_ask_at_once_share_the_connection(source, text):
    found = await asyncio.gather(*(source.find(Lookup.NAME, "ada") for _ in range(50)))

    assert {identity.user().username for identity in found} == {"ada"}


async def test_a_server_that_cannot_be_reached_is_left_to_the_orm(alias, text, monkeypatch):
    monkeypatch.setitem(connections[alias].settings_dict, "HOST", "/nowhere")
    source = PostgresqlSource(connections[alias])
    monkeypatch.undo()

    with pytest.raises(UnavailableError):
        await source.find(Lookup.NAME, "ada")
    assert (await Directory(source).user_of_token(text, timezone.now)).username == "ada"


async def test_a_name_that_postgresql_cannot_hold_is_nobody_s(source, text):
    assert await source.find(Lookup.NAME, "ada\0") is None


async def test_statements_are_prepared_unless_a_pooler_stands_in_between(source, text, alias, monkeypatch):
    await source.find(Lookup.NAME, "ada")
    assert source._connection.prepare_threshold == 0
    monkeypatch.setitem(connections[alias].settings_dict, "DISABLE_SERVER_SIDE_CURSORS", True)
    pooled = PostgresqlSource(connections[alias])
    await pooled.find(Lookup.NAME, "ada")

    assert pooled._connection.prepare_threshold is None
    await pooled.close()


async def pid_of(source):
    await source.find(Lookup.NAME, "ada")
    return source._connection.info.backend_pid
