"""Who gets which page: every path of the dashboard stands in one of these tables, a status for each role."""

import pytest
from django.urls import get_resolver
from django.utils import timezone

from dashboard.conftest import Browser
from hansa.server.accounts import groups, services
from hansa.server.accounts.models import Invitation, Token
from hansa.server.dashboard import urls
from hansa.server.lifecycle.bridge import call, read
from support.people import in_process
from support.work import start

ROLES = ("nobody", "stranger", "participant", "actor", "root")
PAGES = """
                                            nobody  stranger  participant  actor  root
/                                           302     200       200          200    200
/trainings/                                 302     200       200          200    200
/trainings/data/                            302     200       200          200    200
/trainings/new/                             302     200       403          200    200
/trainings/check/                           302     302       403          302    302
/trainings/<training>/                      302     404       200          200    200
/trainings/<training>/parts/standing/       302     404       200          200    200
/trainings/<training>/parts/round/          302     404       200          200    200
/trainings/<training>/parts/updates/        302     404       200          200    200
/trainings/<training>/parts/curves/         302     404       200          200    200
/trainings/<training>/parts/versions/       302     404       200          200    200
/trainings/<training>/parts/clients/        302     404       200          200    200
/trainings/<training>/parts/log/            302     404       200          200    200
/trainings/<training>/events/               302     404       200          200    200
/trainings/<training>/data/curves/          302     404       200          200    200
/trainings/<training>/data/round/           302     404       200          200    200
/trainings/<training>/participants/add/     302     302       302          302    302
/trainings/<training>/participants/connect/ 302     302       302          302    302
/trainings/<training>/participants/<client>/remove/ 302 302   302          302    302
/trainings/<training>/start/                302     302       302          302    302
/models/                                    302     200       200          200    200
/models/new/                                302     200       403          200    200
/models/<model>/                            302     404       200          200    200
/models/<model>/ask/                        302     404       200          200    200
/clients/                                   302     200       403          200    200
/clients/<client>/                          302     404       403          200    200
/clients/invitations/<invitation>/revoke/   302     302       403          302    302
/people/                                    302     200       200          200    200
/people/groups/                             302     302       302          302    302
/people/groups/<group>/delete/              302     302       302          302    302
/sign-in/                                   200     302       302          302    302
/sign-out/                                  405     405       405          405    405
/first-run/                                 302     302       302          302    302
/account/                                   302     200       200          200    200
/account/password/                          302     200       200          200    200
/account/tokens/<token>/revoke/             302     302       302          302    302
"""
"""What a GET answers; 302 leads to another page, and changes nothing."""
FORMS = """
                                            nobody  stranger  participant  actor  root
/trainings/new/                             302     400       403          400    400
/trainings/check/                           302     200       403          200    200
/trainings/<training>/pause/                302     404       403          302    302
/trainings/<training>/participants/add/     302     404       403          302    302
/trainings/<training>/participants/connect/ 302     404       403          400    400
/trainings/<training>/participants/<client>/remove/ 302 404   403          302    302
/account/tokens/<token>/revoke/             302     404       404          404    404
/clients/                                   302     400       403          400    400
/clients/invitations/<invitation>/revoke/   302     404       403          302    404
/people/groups/                             302     400       400          400    400
/people/groups/<group>/rename/              302     400       400          400    400
/people/groups/<group>/delete/              302     403       302          404    404
/people/groups/<group>/burn/                302     404       404          404    404
/models/new/                                302     400       403          400    400
/models/<model>/ask/                        302     404       400          400    400
"""
"""What a form answers, sent with the token of a page of one's own. The token to revoke is somebody else's."""


def rows(table):
    head, *lines = table.strip().splitlines()
    assert tuple(head.split()) == ROLES
    return [(line.split()[0], dict(zip(ROLES, map(int, line.split()[1:]), strict=True))) for line in lines]


@pytest.fixture
async def windows(browser, handler, mallory, bob, alice, root):
    """A browser for each role. Carol's token is somebody else's to all of them."""
    people = {"stranger": mallory, "participant": bob, "actor": alice, "root": root}
    nobody = Browser(transport=in_process(handler), base_url="http://localhost")
    return {"nobody": nobody, **{role: await browser(person) for role, person in people.items()}}


@pytest.fixture
async def named(alice, bob, carol, training):
    await call(start, training)
    token = await read(lambda: Token.objects.get(user=carol.user).id)
    invitation, group = await call(_invitation_and_group, alice, bob)
    ids = {"<training>": training.id, "<token>": token, "<model>": training.model_id, "<client>": bob.id}
    ids |= {"<invitation>": invitation.id, "<group>": group.id}
    return {name: str(value) for name, value in ids.items()}


def _invitation_and_group(alice, bob):
    """Both are Alice's; Bob is in the group."""
    services.invite(actor=alice.user, username="dave", expires_in_seconds=60.0, now=timezone.now())
    group = groups.create(creator=alice.user, name="wards")
    group.user_set.add(bob.user)
    return Invitation.objects.get(), group


def address(path, named):
    for name, value in named.items():
        path = path.replace(name, value)
    return path


def test_every_page_stands_in_a_table():
    paths = [path for table in (PAGES, FORMS) for path, _ in rows(table)]
    ids = {
        "<training>": "00000000-0000-4000-8000-000000000000",
        "<token>": "00000000-0000-4000-8000-000000000001",
        "<bob>": "00000000-0000-4000-8000-000000000002",
    }
    ids |= dict.fromkeys(("<model>", "<client>", "<invitation>"), ids["<token>"]) | {"<group>": "1"}
    found = {get_resolver().resolve(address(path, ids)).url_name for path in paths}

    a_stream = {"news"}  # whose events each may see is in test_news.py
    assert found == {pattern.name for pattern in urls.urlpatterns} - a_stream


@pytest.mark.parametrize(("path", "wanted"), rows(PAGES), ids=lambda value: value if isinstance(value, str) else "")
async def test_who_asks_for_a_page_gets_what_the_table_says(windows, named, path, wanted):
    seen = {role: (await windows[role].get(address(path, named))).status_code for role in ROLES}

    assert seen == wanted


@pytest.mark.parametrize(("path", "wanted"), rows(FORMS), ids=lambda value: value if isinstance(value, str) else "")
async def test_who_sends_a_form_gets_what_the_table_says(windows, named, training, path, wanted):
    seen = {}
    for role in ROLES:
        seen[role] = (await windows[role].send_form(address(path, named))).status_code
        await call(lambda: type(training).objects.filter(id=training.id).update(status="ongoing"))

    assert seen == wanted
    assert await read(Token.objects.filter(id=named["<token>"]).exists)
