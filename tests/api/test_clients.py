"""GET /api/clients/, POST /api/clients/invitations/ and /api/clients/enroll/: how machines join."""

import asyncio
import re
from datetime import timedelta

import pytest

from hansa.protocol.accounts import ClientSummary, Enrolled, Invitation
from hansa.server.accounts.models import Invitation as InvitationRow
from hansa.server.accounts.models import Token, User
from hansa.server.lifecycle.bridge import call, read
from support.answers import nothing_changes, refused, refused_field, shown

INVITE = "/api/clients/invitations/"
ENROLL = "/api/clients/enroll/"


async def invited(actor, username="dave", **fields):
    return shown(await actor.post(INVITE, json={"username": username, **fields}), Invitation, 201)


async def enrolled(nobody, code):
    return shown(await nobody.post(ENROLL, json={"code": code}), Enrolled, 201)


async def names_for(person, token):
    return (await person.get("/api/users/myself/", headers={"Authorization": f"Token {token}"})).json()


async def test_an_invitation_is_a_code_that_a_person_can_read_out(alice, clock):
    invitation = await invited(alice)

    assert re.fullmatch("([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}", invitation.code)
    assert invitation.username == "dave"
    assert invitation.expires_at == (clock.now + timedelta(days=1)).isoformat()


async def test_the_code_is_exchanged_for_a_token(alice, nobody):
    new = await enrolled(nobody, (await invited(alice)).code)

    me = await names_for(nobody, new.token)
    assert (me["id"], me["username"], me["client"], me["actor"]) == (new.id, "dave", True, False)


@pytest.mark.parametrize(
    "typed", [str.lower, lambda code: code.replace("-", " "), lambda code: f" {code.replace('0', 'o')} "]
)
async def test_the_code_may_be_typed_as_it_was_heard(alice, nobody, typed):
    code = (await invited(alice)).code

    assert (await enrolled(nobody, typed(code))).username == "dave"


async def test_a_code_works_once(alice, nobody):
    code = (await invited(alice)).code
    await enrolled(nobody, code)

    async with nothing_changes():
        refused(await nobody.post(ENROLL, json={"code": code}), 400, "invitation_invalid", "hansa clients invite")


async def test_of_many_that_use_a_code_at_once_one_gets_a_token(alice, nobody):
    code = (await invited(alice)).code

    answers = await asyncio.gather(*(nobody.post(ENROLL, json={"code": code}) for _ in range(6)))

    assert sorted(answer.status_code for answer in answers) == [201, 400, 400, 400, 400, 400]
    assert await read(Token.objects.filter(user__username="dave").count) == 1


async def test_an_expired_code_is_refused(alice, nobody, clock):
    code = (await invited(alice, expires_in_seconds=60)).code
    clock.advance(60)

    async with nothing_changes():
        refused(await nobody.post(ENROLL, json={"code": code}), 400, "invitation_invalid", "expired")


@pytest.mark.parametrize("code", ["0000-0000-0000-0000", "x", " ", "\u0000", "ß" * 16])
async def test_unknown_codes_get_the_same_answer_as_used_ones(alice, nobody, code):
    used = (await invited(alice)).code
    await enrolled(nobody, used)

    expected = await nobody.post(ENROLL, json={"code": used})
    assert (await nobody.post(ENROLL, json={"code": code})).content == expected.content


async def test_inviting_again_replaces_the_code_and_later_the_token(alice, nobody):
    first = await invited(alice)
    old = await enrolled(nobody, first.code)
    second, third = await invited(alice), await invited(alice)

    refused(await nobody.post(ENROLL, json={"code": second.code}), 400, "invitation_invalid")
    assert (await names_for(nobody, old.token))["username"] == "dave", "until the new code is used"
    new = await enrolled(nobody, third.code)

    assert new.id == old.id
    assert (await names_for(nobody, old.token))["code"] == "authentication_failed"


async def test_a_code_for_a_user_who_is_no_longer_active_is_refused(alice, nobody):
    code = (await invited(alice)).code
    await call(User.objects.filter(username="dave").update, is_active=False)

    refused(await nobody.post(ENROLL, json={"code": code}), 400, "invitation_invalid")


async def test_a_name_that_is_somebody_elses_cannot_be_invited(alice, bob, mallory, root, nobody):
    await invited(mallory, "eve")
    for username in ("bob", "alice", "root", "eve"):
        async with nothing_changes():
            refused(await alice.post(INVITE, json={"username": username}), 409, "in_use", repr(username), "Choose")


async def test_an_administrator_may_invite_anybodys_client_again_but_no_actor(alice, bob, root):
    await invited(alice)

    assert (await root.post(INVITE, json={"username": "dave"})).status_code == 201
    refused(await root.post(INVITE, json={"username": "alice"}), 409, "in_use")


async def test_no_code_is_kept_in_clear(alice):
    code = (await invited(alice)).code
    stored = await read(lambda: str(list(InvitationRow.objects.values())))

    assert code not in stored
    assert code.replace("-", "") not in stored


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "username"),
        ({"username": ""}, "username"),
        ({"username": "x" * 151}, "username"),
        ({"username": "dave smith"}, "username"),
        ({"username": "dave\n"}, "username"),
        ({"username": "../dave"}, "username"),
        ({"username": "dave", "expires_in_seconds": 0}, "expires_in_seconds"),
        ({"username": "dave", "expires_in_seconds": 31 * 86400}, "expires_in_seconds"),
        ({"username": "dave", "actor": True}, "actor"),
    ],
)
async def test_refuses_an_invitation_that_is_not_as_the_protocol_says(alice, body, field):
    async with nothing_changes():
        refused_field(await alice.post(INVITE, json=body), field)


@pytest.mark.parametrize("body", [{}, {"code": ""}, {"code": "x" * 65}, {"code": 7}])
async def test_refuses_an_enrolment_that_is_not_as_the_protocol_says(nobody, body):
    async with nothing_changes():
        refused_field(await nobody.post(ENROLL, json=body), "code")


async def test_only_actors_invite_and_list_clients(bob):
    async with nothing_changes():
        refused(await bob.post(INVITE, json={"username": "dave"}), 403, "permission_denied", "actor role")
        refused(await bob.get("/api/clients/"), 403, "permission_denied", "actor role")


async def test_the_list_shows_whom_one_trains_with_or_has_invited_and_who_has_come(alice, bob, training, clock):
    await invited(alice)
    await bob.post("/api/tasks/next/", json={"instance": "laptop"})

    clients = shown(await alice.get("/api/clients/"), list[ClientSummary])

    assert [(client.username, client.enrolled, client.last_seen) for client in clients] == [
        ("bob", True, clock.now.isoformat()),
        ("carol", True, None),
        ("dave", False, None),
    ]


async def test_an_actor_learns_nothing_of_clients_that_are_others(alice, bob, mallory, root, training):
    await invited(alice)
    await invited(mallory, "eve")

    seen = {person: shown(await person.get("/api/clients/"), list[ClientSummary]) for person in (mallory, root)}

    assert [client.username for client in seen[mallory]] == ["eve"]
    assert [client.username for client in seen[root]] == ["bob", "carol", "dave", "eve", "mallory"]


async def test_a_client_that_was_removed_from_its_training_is_listed_no_more(alice, bob, training):
    await alice.request("DELETE", f"/api/trainings/{training.id}/clients/", json={"clients": ["bob"]})

    assert [each.username for each in shown(await alice.get("/api/clients/"), list[ClientSummary])] == ["carol"]
