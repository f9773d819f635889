"""GET and POST /api/tokens/, DELETE /api/tokens/<id>/: one's own API tokens."""

import re
from datetime import timedelta
from uuid import UUID

import pytest

from hansa.protocol.accounts import Token, TokenCreated
from hansa.server.accounts.models import Token as TokenRow
from hansa.server.lifecycle.bridge import read
from support.answers import nothing_changes, refused, refused_field, shown

URL = "/api/tokens/"


async def test_the_text_of_a_new_token_is_shown_this_once(alice, nobody, clock):
    created = shown(await alice.post(URL, json={"name": "laptop"}), TokenCreated, 201)

    assert (created.name, created.created_at, created.expires_at) == ("laptop", clock.now.isoformat(), None)
    assert re.fullmatch("[0-9a-f]{40}", created.token)
    response = await nobody.get("/api/users/myself/", headers={"Authorization": f"Token {created.token}"})
    assert response.json()["username"] == "alice"
    assert created.token not in (await alice.get(URL)).text


async def test_a_token_may_expire(alice, clock):
    created = shown(await alice.post(URL, json={"expires_in_seconds": 3600}), TokenCreated, 201)

    assert created.expires_at == (clock.now + timedelta(hours=1)).isoformat()


async def test_an_empty_message_makes_a_token_without_a_name(alice):
    assert shown(await alice.post(URL), TokenCreated, 201).name == ""


async def test_one_sees_ones_own_tokens_and_no_others(alice, bob):
    created = shown(await alice.post(URL, json={"name": "laptop"}), TokenCreated, 201)

    tokens = shown(await alice.get(URL), list[Token])

    assert [token.name for token in tokens] == ["test", "laptop"]
    assert tokens[1].id == created.id
    assert [token.name for token in shown(await bob.get(URL), list[Token])] == ["test"]


async def test_a_revoked_token_is_refused_from_then_on(alice, nobody):
    created = shown(await alice.post(URL), TokenCreated, 201)

    response = await alice.delete(f"{URL}{created.id}/")

    assert (response.status_code, response.content) == (204, b"")
    headers = {"Authorization": f"Token {created.token}"}
    refused(await nobody.get(URL, headers=headers), 401, "authentication_failed", "Invalid token")


async def test_one_may_revoke_the_token_one_presents(alice):
    token = await read(TokenRow.objects.get, user=alice.user)

    assert (await alice.delete(f"{URL}{token.id}/")).status_code == 204
    assert (await alice.get(URL)).status_code == 401


async def test_the_token_of_somebody_else_is_not_there_to_be_revoked(alice, root, bob):
    token = await read(TokenRow.objects.get, user=bob.user)

    async with nothing_changes():
        for person in (alice, root):
            refused(await person.delete(f"{URL}{token.id}/"), 404, "not_found", str(token.id))
        refused(await alice.delete(f"{URL}{UUID(int=0)}/"), 404, "not_found")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x" * 101}, "name"),
        ({"name": None}, "name"),
        ({"expires_in_seconds": 0}, "expires_in_seconds"),
        ({"expires_in_seconds": -1}, "expires_in_seconds"),
        ({"expires_in_seconds": 10**10}, "expires_in_seconds"),
        ({"expires_in_seconds": "soon"}, "expires_in_seconds"),
        ({"user": "root"}, "user"),
    ],
)
async def test_refuses_a_token_that_is_not_as_the_protocol_says(alice, body, field):
    async with nothing_changes():
        refused_field(await alice.post(URL, json=body), field)
