"""What is kept of users, and for how long: exactly until the database may have changed."""

import asyncio
import math
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.db import connection
from django.utils import timezone

from hansa.server.accounts import services
from hansa.server.accounts.credentials import directory as module
from hansa.server.accounts.credentials.directory import Directory, directory
from hansa.server.accounts.credentials.identities import Identity
from hansa.server.accounts.credentials.recent import Recent
from hansa.server.accounts.credentials.sources import UnavailableError
from hansa.server.accounts.credentials.sqlite import SqliteSource
from hansa.server.accounts.models import User
from hansa.server.accounts.secrets import digest
from hansa.server.lifecycle.bridge import call, read
from support.credentials import user_of_token
from support.home import START

pytestmark = pytest.mark.usefixtures("transactional_db")


def monday():
    return START


class Told:
    """A source that says what the test tells it, and counts how often it is asked."""

    max_age = math.inf

    def __init__(self, **columns):
        self.number = 0
        self.asked = []
        self.going = asyncio.Event()
        self.going.set()
        self.found = Identity.of(User(username="ada", **columns))

    def version(self):
        return self.number

    async def find(self, lookup, key):
        self.asked.append(key)
        found = self.found
        await self.going.wait()
        return found

    async def close(self):
        self.number = None


@pytest.fixture
async def told():
    return Told()


@pytest.fixture
async def users(told):
    return Directory(told)


async def test_a_token_is_looked_up_once_while_nothing_changes(users, told):
    for _ in range(3):
        assert (await users.user_of_token("secret", monday)).username == "ada"

    assert told.asked == [digest("secret")], "and never by its text"


async def test_whatever_changes_is_read_again(users, told):
    await users.user_of_token("secret", monday)
    told.found = None
    told.number += 1

    assert await users.user_of_token("secret", monday) is None


async def test_a_lookup_that_began_before_a_change_leaves_nothing_behind(users, told):
    told.going.clear()
    slow = asyncio.create_task(users.user_of_token("secret", monday))
    await asyncio.sleep(0)
    assert told.asked, "the old row has been read, and is on its way"
    told.found = None
    told.number += 1
    told.going.set()

    assert (await slow).username == "ada", "it had asked before"
    assert await users.user_of_token("secret", monday) is None


async def test_it_is_read_again_after_the_source_s_greatest_age(told):
    told.max_age, now = 2.0, 100.0
    users = Directory(told, clock=lambda: now)
    await users.user_of_token("secret", monday)
    now += 1.9
    await users.user_of_token("secret", monday)
    assert len(told.asked) == 1
    now += 0.1
    await users.user_of_token("secret", monday)

    assert len(told.asked) == 2


async def test_an_unknown_token_is_looked_up_each_time(users, told):
    told.found = None
    for _ in range(2):
        assert await users.user_of_token("secret", monday) is None

    assert len(told.asked) == 2, "a flood of wrong ones drives out no right one"


async def test_the_end_of_a_token_is_looked_at_in_every_use(users, told):
    told.found = Identity(told.found.columns, START + timedelta(seconds=60))

    assert await users.user_of_token("secret", lambda: START + timedelta(seconds=59.9))
    assert await users.user_of_token("secret", lambda: START + timedelta(seconds=60)) is None
    assert len(told.asked) == 1


async def test_a_closed_account_is_nobody_s(users, told):
    told.found = Identity.of(User(username="ada", is_active=False))

    assert await users.user_of_token("secret", monday) is None
    assert await users.user_named("ada") is None


async def test_what_a_request_does_to_its_user_is_its_own_affair(users):
    first = await users.user_of_token("secret", monday)
    first.actor = True
    first._state.fields_cache["invited_by"] = None
    second = await users.user_of_token("secret", monday)

    assert (second.actor, second._state.fields_cache) == (False, {})
    assert first == second


async def test_a_bounded_number_of_users_is_kept(told):
    users = Directory(told, capacity=2)
    for token in ("one", "two", "one", "three", "one", "two"):
        await users.user_of_token(token, monday)

    assert [*told.asked] == [digest(token) for token in ("one", "two", "three", "two")]


async def test_names_and_digests_are_not_mistaken_for_each_other(users, told):
    await users.user_of_token("secret", monday)
    await users.user_named(digest("secret"))

    assert len(told.asked) == 2


def test_the_values_asked_for_last_are_kept():
    recent = Recent(capacity=2)
    recent.put("a", 1)
    recent.put("b", 2)
    assert recent.get("a") == 1
    recent.put("c", 3)

    assert (len(recent), recent.get("a"), recent.get("b"), recent.get("c")) == (2, 1, None, 3)


def test_an_identity_shows_no_secret():
    user = User(username="ada", password="pbkdf2$a-hash")

    assert "a-hash" not in repr(Identity.of(user))


async def test_an_instance_is_as_the_orm_would_have_read_it(users, told):
    grace = await call(User.objects.create_user, "grace", "grace@example.org", "x", last_seen=START)
    bred = await call(User.objects.create_user, "ada", first_name="Ada", actor=True, last_login=START, invited_by=grace)
    new = await token_for(bred)

    by_hand = await user_of_token(new.text)
    by_orm = await read(User.objects.get, pk=bred.pk)

    assert vars(by_hand) | {"_state": None} == vars(by_orm) | {"_state": None}
    assert (by_hand._state.adding, by_hand._state.db) == (by_orm._state.adding, by_orm._state.db)
    assert (await read(lambda: by_hand.invited_by)) == grace
    by_hand.first_name = "Augusta"
    await call(by_hand.save)
    assert (await user_of_token(new.text)).first_name == "Augusta"


async def test_where_the_file_cannot_be_opened_the_orm_answers():
    ada = await call(User.objects.create_user, "ada")
    new = await token_for(ada)
    users = Directory(SqliteSource(Path("/nowhere/at/all.sqlite3"), connection))

    assert await users.user_of_token(new.text, timezone.now) == ada
    assert await users.user_of_token("0" * 40, timezone.now) is None
    assert await users.user_named("ada") == ada
    assert await users.user_named("nobody") is None


async def test_a_source_that_fails_between_version_and_row_is_replaced_by_the_orm(users, told, monkeypatch):
    ada = await call(User.objects.create_user, "ada")
    new = await token_for(ada)

    async def fail(lookup, key):
        raise UnavailableError("broken")

    monkeypatch.setattr(told, "find", fail)

    assert await users.user_of_token(new.text, timezone.now) == ada


@pytest.mark.parametrize("name", [":memory:", "file:memorydb_default?mode=memory&cache=shared", "", "relative.sqlite3"])
def test_what_is_no_file_of_its_own_is_left_to_the_orm(monkeypatch, name):
    default = SimpleNamespace(vendor="sqlite", settings_dict={"NAME": name})
    monkeypatch.setattr(module, "connections", {"default": default})

    assert module._source() is None


def test_a_loop_closes_the_directory_that_was_opened_on_it():
    opened = []

    async def ask():
        assert await user_of_token("0" * 40) is None
        assert await directory() is await directory()
        opened.append(await directory())

    asyncio.run(ask())
    before = descriptors()
    for _ in range(5):
        asyncio.run(ask())

    assert len({id(each) for each in opened}) == 6
    assert descriptors() == before
    assert not module._open


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


async def token_for(user):
    return await call(services.create_token, user_id=user.pk, name="test", expires_in_seconds=None, now=timezone.now())
