"""Who gets which page: every path of the dashboard stands in one of these tables, a status for each role."""

import pytest
from django.urls import get_resolver

from dashboard.conftest import Browser
from hansa.server.accounts.models import Token
from hansa.server.dashboard import urls
from hansa.server.lifecycle.bridge import call, read
from support.people import in_process
from support.work import start

ROLES = ("nobody", "stranger", "participant", "actor", "root")
PAGES = """
                                            nobody  stranger  participant  actor  root
/                                           302     200       200          200    200
/trainings/                                 302     200       200          200    200
/trainings/<training>/                      302     404       200          200    200
/trainings/<training>/parts/standing/       302     404       200          200    200
/trainings/<training>/parts/round/          302     404       200          200    200
/trainings/<training>/parts/curves/         302     404       200          200    200
/trainings/<training>/parts/clients/        302     404       200          200    200
/trainings/<training>/parts/log/            302     404       200          200    200
/trainings/<training>/start/                302     302       302          302    302
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
/trainings/<training>/pause/                302     404       403          302    302
/account/tokens/<token>/revoke/             302     404       404          404    404
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
async def named(carol, training):
    await call(start, training)
    token = await read(lambda: Token.objects.get(user=carol.user).id)
    return {"<training>": str(training.id), "<token>": str(token)}


def address(path, named):
    for name, value in named.items():
        path = path.replace(name, value)
    return path


def test_every_page_stands_in_a_table():
    paths = [path for table in (PAGES, FORMS) for path, _ in rows(table)]
    ids = {"<training>": "00000000-0000-4000-8000-000000000000", "<token>": "00000000-0000-4000-8000-000000000001"}
    found = {get_resolver().resolve(address(path, ids)).url_name for path in paths}

    assert found == {pattern.name for pattern in urls.urlpatterns}


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
