"""GET /api/users/, /api/users/myself/ and /api/users/<id>/: who sees what of whom."""

import base64
import uuid

import pytest

from hansa.protocol.accounts import User, UserSummary, VisibleUser
from hansa.server.accounts.models import User as UserRow
from hansa.server.lifecycle.bridge import call
from support.answers import refused, shown

SECRETS = ("ada@example.org", "http://x")
"""What belongs to Ada's account, and to nobody else."""


@pytest.fixture
def ada(person):
    names = {"first_name": "Ada", "last_name": "Lovelace", "email": "ada@example.org"}
    return person("ada", actor=True, message_endpoint="http://x", **names)


def record(person):
    return {
        "id": person.id,
        "username": "ada",
        "first_name": "Ada",
        "last_name": "Lovelace",
        "email": "ada@example.org",
        "actor": True,
        "client": False,
        "message_endpoint": "http://x",
    }


def summary(person):
    return {"id": person.id, "username": person.user.username, "first_name": "", "last_name": ""}


async def test_everybody_sees_their_own_record_without_a_token(ada):
    assert shown(await ada.get("/api/users/myself/"), User) == User(**record(ada))


async def test_of_others_one_sees_their_names_only(ada, bob):
    answer = await bob.get("/api/users/")

    listed = {user.username: user for user in shown(answer, list[VisibleUser])}
    assert listed["ada"] == VisibleUser(id=ada.id, username="ada", first_name="Ada", last_name="Lovelace")
    assert answer.json()[0].keys() == {"id", "username", "first_name", "last_name"}
    assert not any(secret in answer.text for secret in SECRETS)


async def test_in_the_list_one_stands_with_everything_but_a_token(ada, bob):
    assert (await ada.get("/api/users/")).json() == [record(ada), summary(bob)]


@pytest.fixture(params=["is_staff", "is_superuser"])
def registrar(person, request):
    return person("registrar", **{request.param: True})


async def test_staff_see_what_belongs_to_the_accounts_and_no_token(ada, registrar):
    listed = (await registrar.get("/api/users/")).json()

    assert listed[0] == record(ada)
    assert listed[1].keys() == record(ada).keys()
    assert (await registrar.get(f"/api/users/{ada.id}/")).json() == record(ada)


async def test_users_who_are_no_longer_active_are_not_listed(alice, bob):
    await call(UserRow.objects.filter(id=bob.id).update, is_active=False)

    assert [user["username"] for user in (await alice.get("/api/users/")).json()] == ["alice"]


async def test_a_training_may_name_somebody_who_is_no_longer_active_and_the_id_still_tells_who(alice, bob):
    await call(UserRow.objects.filter(id=bob.id).update, is_active=False)

    assert (await alice.get(f"/api/users/{bob.id}/")).json() == summary(bob)


async def test_by_an_id_others_are_told_by_their_names_only(ada, bob):
    answer = await bob.get(f"/api/users/{ada.id}/")

    assert shown(answer, UserSummary) == UserSummary(id=ada.id, username="ada", first_name="Ada", last_name="Lovelace")


async def test_by_ones_own_id_one_is_told_the_token_that_was_shown(ada):
    assert (await ada.get(f"/api/users/{ada.id}/")).json() == {**record(ada), "token": ada.token}


async def test_the_token_may_have_been_shown_as_a_basic_user(ada, nobody):
    header = base64.b64encode(f"{ada.token}:".encode()).decode()

    answer = await nobody.get(f"/api/users/{ada.id}/", headers={"Authorization": f"Basic {header}"})

    assert answer.json() == {**record(ada), "token": ada.token}


async def test_who_shows_a_password_is_told_no_token(ada, nobody, settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    ada.user.set_password("correct horse")
    await call(ada.user.save)

    answer = await nobody.get(f"/api/users/{ada.id}/", auth=("ada", "correct horse"))

    assert answer.json() == {**record(ada), "token": None}


async def test_an_id_that_is_nobodys_is_not_found(alice):
    refused(await alice.get(f"/api/users/{uuid.UUID(int=0)}/"), 404, "not_found", "no user")


@pytest.mark.parametrize("malformed", ["7", "alice", "%00", "..", "9" * 5000, "00000000-0000-0000-0000-00000000000g"])
async def test_what_can_be_no_id_is_not_found(alice, malformed):
    refused(await alice.get(f"/api/users/{malformed}/"), 404, "not_found")


@pytest.mark.parametrize("path", ["", "myself/", "groups/", "00000000-0000-0000-0000-000000000000/"])
async def test_strangers_are_asked_for_a_token(nobody, path):
    answer = await nobody.get(f"/api/users/{path}")

    refused(answer, 401, "not_authenticated", "Authentication credentials were not provided.")
    assert answer.headers["WWW-Authenticate"] == "Token"


@pytest.mark.parametrize("path", ["myself/", "groups/", "00000000-0000-0000-0000-000000000000/"])
async def test_accounts_are_not_changed_by_the_api(alice, path):
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        refused(await alice.request(method, f"/api/users/{path}", json={}), 405, "method_not_allowed", method)
