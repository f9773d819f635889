"""GET /api/users/ and /api/users/myself/."""

import pytest

from hansa.protocol.accounts import User, UserSummary
from hansa.server.accounts.models import User as UserRow
from hansa.server.lifecycle.bridge import call
from support.answers import shown


@pytest.fixture
def ada(person):
    names = {"first_name": "Ada", "last_name": "Lovelace", "email": "ada@example.org"}
    return person("ada", actor=True, message_endpoint="http://x", **names)


async def test_everybody_sees_their_own_record(ada):
    assert shown(await ada.get("/api/users/myself/"), User) == User(
        id=ada.id,
        username="ada",
        first_name="Ada",
        last_name="Lovelace",
        email="ada@example.org",
        actor=True,
        client=False,
        message_endpoint="http://x",
    )


async def test_of_others_one_sees_their_names_only(ada, bob):
    assert shown(await bob.get("/api/users/"), list[UserSummary]) == [
        UserSummary(id=ada.id, username="ada", first_name="Ada", last_name="Lovelace"),
        UserSummary(id=bob.id, username="bob", first_name="", last_name=""),
    ]


async def test_users_who_are_no_longer_active_are_not_listed(alice, bob):
    await call(UserRow.objects.filter(id=bob.id).update, is_active=False)

    assert [user.username for user in shown(await alice.get("/api/users/"), list[UserSummary])] == ["alice"]
