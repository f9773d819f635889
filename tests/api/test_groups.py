"""/api/groups/ and /api/users/groups/: made by anybody, seen and changed by members and superusers."""

import asyncio
from functools import partial

import pytest
from django.contrib.auth.models import Group

from hansa.protocol.accounts import Group as Record
from hansa.server.accounts import groups, selectors
from hansa.server.lifecycle.bridge import call, read
from hansa.server.lifecycle.errors import NotFoundError
from support.answers import nothing_changes, refused, refused_field, shown

URL = "/api/groups/"
HUGE = 2**63


@pytest.fixture
async def ours(alice):
    """A group of Alice's making."""
    return (await alice.post(URL, json={"name": "north"})).json()


@pytest.fixture
def its_url(ours):
    return f"{URL}{ours['id']}/"


async def test_who_makes_a_group_is_its_first_member(alice, bob):
    made = shown(await alice.post(URL, json={"name": "north"}), Record, 201)

    assert made.name == "north"
    assert (await alice.get("/api/users/groups/")).json() == [{"id": made.id, "name": "north"}]
    assert (await alice.get(f"{URL}{made.id}/")).json() == {"id": made.id, "name": "north"}
    assert (await bob.get("/api/users/groups/")).json() == []


async def test_a_form_makes_one_too(bob):
    assert shown(await bob.post(URL, data={"name": "south"}), Record, 201).name == "south"


async def test_only_superusers_see_all_groups(alice, bob, root, ours):
    await bob.post(URL, json={"name": "south"})

    assert [group["name"] for group in (await root.get(URL)).json()] == ["north", "south"]
    for person in (alice, bob):
        refused(await person.get(URL), 403, "permission_denied", "You are not allowed to access all groups.")


@pytest.fixture(params=["alice", "root"])
def insider(request):
    """The member who made it; the superuser."""
    return request.getfixturevalue(request.param)


async def test_members_and_superusers_see_name_and_delete_a_group(insider, ours, its_url):
    assert shown(await insider.get(its_url), Record) == Record(**ours)
    assert (await insider.put(its_url, json={"name": "east"})).json() == {**ours, "name": "east"}
    assert (await insider.patch(its_url, json={"name": "west"})).json() == {**ours, "name": "west"}
    assert (await insider.patch(its_url, json={})).json() == {**ours, "name": "west"}
    deleted = await insider.delete(its_url)
    assert (deleted.status_code, deleted.content) == (204, b"")
    refused(await insider.get(its_url), 404, "not_found")


async def test_a_member_by_the_administrators_hand_is_one_like_any_other(bob, ours, its_url):
    refused(await bob.get(its_url), 403, "permission_denied")

    await call(lambda: Group.objects.get(id=ours["id"]).user_set.add(bob.user))

    assert (await bob.get(its_url)).json() == ours
    assert (await bob.get("/api/users/groups/")).json() == [ours]


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
async def test_others_are_not_allowed_in(bob, its_url, method):
    async with nothing_changes():
        answer = await bob.request(method, its_url, json={"name": "mine"})

    refused(answer, 403, "permission_denied", "You are not allowed to access this group.")


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("number", [0, 999, HUGE, HUGE - 1, 10**100])
async def test_a_group_that_is_not_there_is_not_found(alice, root, method, number):
    for person in (alice, root):
        refused(await person.request(method, f"{URL}{number}/", json={"name": "x"}), 404, "not_found")


@pytest.mark.parametrize("malformed", ["-1", "x", "1.0", "%00", "9" * 5000])
async def test_what_can_be_no_number_is_not_found(alice, malformed):
    refused(await alice.get(f"{URL}{malformed}/"), 404, "not_found")


async def test_what_was_read_may_be_sent_back(alice, ours, its_url):
    assert (await alice.put(its_url, json={**ours, "name": "east"})).json() == {**ours, "name": "east"}


async def test_a_name_is_given_once(alice, bob, ours, its_url):
    other = (await bob.post(URL, json={"name": "south"})).json()

    async with nothing_changes():
        refused_field(await bob.post(URL, json={"name": "north"}), "name", "already exists")
        for method in ("PUT", "PATCH"):
            answer = await bob.request(method, f"{URL}{other['id']}/", json={"name": "north"})
            refused_field(answer, "name", "already exists")


async def test_a_group_may_be_given_the_name_that_it_has(alice, ours, its_url):
    assert (await alice.put(its_url, json={"name": "north"})).json() == ours


async def test_of_many_who_want_a_name_at_once_one_gets_it(alice, bob, carol):
    answers = await asyncio.gather(
        *(person.post(URL, json={"name": "north"}) for person in (alice, bob, carol) for _ in range(4))
    )

    assert sorted(answer.status_code for answer in answers) == [201, *[400] * 11]
    assert await read(lambda: [group.user_set.count() for group in Group.objects.all()]) == [1]


async def test_members_who_delete_a_group_at_once_are_all_told_how_it_is(alice, its_url):
    answers = await asyncio.gather(*(alice.delete(its_url) for _ in range(4)))

    assert sorted(answer.status_code for answer in answers) == [204, 404, 404, 404]


@pytest.mark.parametrize("change", [groups.delete, partial(groups.rename, name="east")])
async def test_a_group_that_is_deleted_while_it_is_changed_is_not_found(alice, ours, monkeypatch, change):
    """As another of PostgreSQL's writers may do it: between the look at the group and the change."""
    look = selectors.group

    def look_and_be_late(caller, group_id):
        found = look(caller, group_id)
        Group.objects.filter(id=group_id).delete()
        return found

    monkeypatch.setattr(groups.selectors, "group", look_and_be_late)

    with pytest.raises(NotFoundError):
        await call(change, caller=alice.user, group_id=ours["id"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "length >= 1"),
        ("   ", "blank"),
        ("n" * 151, "length <= 150"),
        ("a\0b", "regex"),
        (7, "str"),
        (None, ""),
        (["north"], "str"),
    ],
)
async def test_a_name_that_cannot_be_one_is_refused(alice, its_url, name, words):
    async with nothing_changes():
        refused_field(await alice.post(URL, json={"name": name}), "name", words)
        refused_field(await alice.put(its_url, json={"name": name}), "name", words)
        if name is not None:
            refused_field(await alice.patch(its_url, json={"name": name}), "name", words)


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_name_is_needed(alice, its_url, method):
    answer = await alice.request(method, URL if method == "POST" else its_url, json={})

    refused_field(answer, "name", "This field is required.")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize(
    ("content", "status"),
    [(b"[]", 400), (b"null", 400), (b'{"name": ', 400), (b'{"name": "\xff"}', 400), (b'"' + b"n" * 5_000_000, 413)],
)
async def test_a_body_that_is_no_object_is_refused(alice, its_url, method, content, status):
    async with nothing_changes():
        answer = await alice.request(
            method,
            URL if method == "POST" else its_url,
            content=content,
            headers={"Content-Type": "application/json"},
        )

    assert answer.status_code == status, answer.text


async def test_nobody_is_added_by_a_field(alice, bob, its_url):
    async with nothing_changes():
        answer = await alice.put(its_url, json={"name": "north", "user_set": [bob.id]})

    refused_field(answer, "user_set", "There is no such field.")


@pytest.mark.parametrize(("method", "path"), [("GET", URL), ("POST", URL), ("GET", f"{URL}1/"), ("DELETE", f"{URL}1/")])
async def test_strangers_are_asked_for_a_token(nobody, method, path):
    refused(await nobody.request(method, path), 401, "not_authenticated")
