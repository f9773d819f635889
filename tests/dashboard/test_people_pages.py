"""People, groups, clients and invitations as pages: each sees what the API would tell them."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dashboard.conftest import beside, words
from hansa.server.accounts import groups, presence, services
from hansa.server.accounts.models import Invitation, User
from hansa.server.dashboard.clients import Clients
from hansa.server.dashboard.people import People
from hansa.server.lifecycle.bridge import call, read
from hansa.server.trainings.models import Participation, Task, Training
from support.work import lease, start, update, upload_and_report


def rows_of(page, region):
    """The rows of a table as texts."""
    table = re.search(rf'aria-label="{region}".*?</table>', page.text, re.DOTALL)[0]
    return [" ".join(re.sub("<[^>]*>", " ", row).split()) for row in re.findall("<tr>.*?</tr>", table, re.DOTALL)][1:]


async def test_everybody_sees_names_and_staff_sees_roles_and_addresses(browser, bob, root, person):
    await call(person, "eve", email="eve@example.org", actor=True, first_name="Eve")

    of_bob = await (await browser(bob)).get("/people/")
    of_root = await (await browser(root)).get("/people/")

    assert [row.split()[0] for row in rows_of(of_bob, "Accounts")] == ["bob", "eve", "root"]
    assert "eve@example.org" not in of_bob.text
    assert "actor" not in of_bob.text
    assert rows_of(of_root, "Accounts")[1].startswith("eve Eve eve@example.org actor")


async def test_staff_sees_who_was_here_when_and_others_do_not(browser, bob, root, clock):
    await call(lambda: User.objects.filter(username="bob").update(last_login=clock.now))
    clock.advance(3600)
    presence.saw(root.user.id, clock.now)

    of_root = await (await browser(root)).get("/people/")
    seen = [clock.now - timedelta(hours=1), clock.now]
    assert re.findall('<time datetime="([^"]*)"', of_root.text) == [each.isoformat() for each in seen]
    assert "Last seen" not in (await (await browser(bob)).get("/people/")).text


async def test_a_groups_members_are_named_to_its_members(browser, alice, bob, mallory, monkeypatch):
    def wards():
        group = groups.create(creator=alice.user, name="wards")
        group.user_set.add(bob.user, mallory.user)

    await call(wards)
    assert "alice, bob, mallory" in " ".join(rows_of(await (await browser(bob)).get("/people/"), "Groups"))
    monkeypatch.setattr("hansa.server.dashboard.people.MEMBERS", 1)
    assert "alice and 2 more" in " ".join(rows_of(await (await browser(bob)).get("/people/"), "Groups"))


async def test_the_trainings_of_others_are_named_to_who_may_see_them(browser, alice, bob, mallory, training):
    await call(lambda: Training.objects.filter(id=training.id).update(name="<b>secret</b>"))

    assert "<b>secret</b>" in words(await (await browser(bob)).get("/people/"))
    assert "<b>secret</b>" not in (await (await browser(bob)).get("/people/")).text
    assert "secret" not in (await (await browser(mallory)).get("/people/")).text


async def test_a_group_is_made_renamed_and_deleted_by_its_members(browser, alice, mallory):
    window = await browser(alice)

    await window.send_form("/people/groups/", name="wards")
    group = await read(Group.objects.get)
    assert "wards" in words(await window.get("/people/"))
    await window.send_form(f"/people/groups/{group.id}/rename/", name="<i>clinics</i>")
    assert "<i>clinics</i>" in words(await window.get("/people/"))
    assert "clinics" not in words(await (await browser(mallory)).get("/people/"))
    await window.send_form(f"/people/groups/{group.id}/delete/")
    assert await read(Group.objects.count) == 0


REFUSED_GROUPS = [("", 400, "1 to 150"), ("x" * 151, 400, "1 to 150"), ("taken", 400, "already exists")]


@pytest.mark.parametrize(("name", "status", "said"), REFUSED_GROUPS)
async def test_a_group_that_cannot_be_made_says_why_beside_its_field(browser, alice, name, status, said):
    window = await browser(alice)
    await window.send_form("/people/groups/", name="taken")

    page = await window.send_form("/people/groups/", name=name)

    assert page.status_code == status
    assert said in beside(page, "group")
    assert f'value="{name}"' in page.text
    assert await read(Group.objects.count) == 1


async def test_a_name_that_a_group_cannot_have_is_told_beside_that_group(browser, alice):
    window = await browser(alice)
    for name in ("wards", "clinics"):
        await window.send_form("/people/groups/", name=name)
    wards = await read(Group.objects.get, name="wards")

    page = await window.send_form(f"/people/groups/{wards.id}/rename/", name="clinics")

    assert "already exists" in beside(page, f"group-{wards.id}")
    assert page.text.count('value="clinics"') == 2, "what was typed, and the other group's own"


async def test_an_invitation_is_shown_once_and_its_line_brings_the_machine_in(browser, alice, nobody):
    window = await browser(alice)

    page = await window.send_form("/clients/", username="hospital-a", expires="3600")

    assert page.status_code == 201
    code = re.search(r"hansa enroll (\S+) --server http://localhost", words(page))[1]
    assert code not in (await window.get("/clients/")).text
    assert [row.split()[0] for row in rows_of(await window.get("/clients/"), "Invitations that wait")] == ["hospital-a"]
    assert rows_of(await window.get("/clients/"), "Clients")[0].startswith("hospital-a invited never")
    assert (await nobody.post("/api/clients/enroll/", json={"code": code})).status_code == 201
    assert "Invitations that wait" not in (await window.get("/clients/")).text


async def test_an_invitation_that_was_taken_back_brings_nobody_in(browser, alice, mallory, nobody):
    code = (await alice.post("/api/clients/invitations/", json={"username": "hospital-a"})).json()["code"]
    invitation = await read(Invitation.objects.get)
    path = f"/clients/invitations/{invitation.id}/revoke/"

    assert (await (await browser(mallory)).send_form(path)).status_code == 404
    assert (await (await browser(alice)).send_form(path)).status_code == 302
    assert (await nobody.post("/api/clients/enroll/", json={"code": code})).status_code == 400
    assert (await (await browser(alice)).send_form(path)).status_code == 404


@pytest.mark.parametrize(
    ("fields", "field", "status", "said"),
    [
        ({"username": "two words"}, "username", 400, "letters, digits"),
        ({"username": ""}, "username", 400, "letters, digits"),
        ({"username": "x", "expires": "long"}, "expires", 400, "30 days at most"),
        ({"username": "x", "expires": "9999999"}, "expires", 400, "30 days at most"),
        ({"username": "bob"}, "username", 409, "The name 'bob' is taken"),
    ],
)
async def test_an_invitation_that_cannot_be_made_says_why(browser, alice, bob, fields, field, status, said):
    page = await (await browser(alice)).send_form("/clients/", **fields)

    assert page.status_code == status
    assert said in beside(page, field)
    assert f'value="{fields["username"]}"' in page.text
    assert await read(Invitation.objects.count) == 0


async def test_a_client_is_shown_with_the_share_of_its_tasks_that_failed_to_who_trains_with_it(
    browser, alice, bob, carol, mallory, training
):
    await call(start, training)
    await upload_and_report(bob, await call(lease, bob), update(1.0))
    await call(lambda: Task.objects.filter(participation__client=carol.user).update(state="failed"))

    table = rows_of(await (await browser(alice)).get("/clients/"), "Clients")

    assert [row.split()[0] for row in table] == ["bob", "carol"]
    assert "0 %" in table[0]
    assert "100 % 1 of 1" in table[1]
    mine = words(await (await browser(mallory)).get("/clients/"))
    assert "bob" not in mine
    assert "None yet" in mine


async def test_failures_in_anothers_training_are_not_counted(browser, alice, bob, mallory, training):
    await call(start, training)
    await call(lambda: Task.objects.filter(participation__client=bob.user).update(state="failed"))
    await call(lambda: User.objects.filter(id=bob.user.id).update(invited_by=mallory.user))

    (row,) = rows_of(await (await browser(mallory)).get("/clients/"), "Clients")

    assert "%" not in row


async def test_a_clients_page_tells_its_standing_and_its_tasks_of_ones_own_trainings(
    browser, alice, bob, mallory, make_training, training
):
    await call(start, training)
    await upload_and_report(bob, await call(lease, bob), update(1.0))
    theirs = await call(make_training, bob)
    await call(start, theirs)
    await call(lambda: Training.objects.filter(id=theirs.id).update(actor=mallory.user))
    failed = {"state": "failed", "reason": "<b>out of memory</b>"}
    await call(lambda: Task.objects.filter(round__training=theirs).update(**failed))
    await call(lambda: Participation.objects.filter(training=theirs).update(failures=2))
    path = f"/clients/{bob.id}/"

    of_alice, of_mallory = await (await browser(alice)).get(path), await (await browser(mallory)).get(path)

    (mine,) = rows_of(of_alice, "Its tasks")
    assert mine.split()[-4:-2] == ["train", "reported"]
    assert "takes part" in rows_of(of_alice, "Its trainings")[0]
    assert "out of memory" not in of_alice.text
    assert "<b>out of memory</b>" in words(of_mallory)
    assert "<b>out of memory</b>" not in of_mallory.text
    assert "2 failures in a row" in rows_of(of_mallory, "Its trainings")[0]
    assert "100 %" in of_mallory.text
    assert f'href="{path}"' in (await (await browser(alice)).get("/clients/")).text


@pytest.mark.parametrize("page", [People, Clients])
async def test_a_list_asks_as_few_questions_for_many_as_for_one(alice, make_training, page, bob, carol):
    def ask():
        view = page()
        view.request = type("", (), {"query_params": {}})()
        with CaptureQueriesContext(connection) as asked:
            shown = view.show(alice.user)
            list(shown.get("invitations", ()))
        return len(asked)

    def grow():
        for number in range(20):
            services.invite(actor=alice.user, username=f"client-{number}", expires_in_seconds=60.0, now=timezone.now())

    await call(make_training, bob)
    one = await read(ask)
    await call(grow)

    assert await read(ask) <= one
    assert one <= 10
