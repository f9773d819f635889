"""Every page can be used by everybody: axe finds nothing serious, in light and dark, on a desk and on a telephone."""

import re

import pytest
import pytest_asyncio
from django.urls import get_resolver

from hansa.server.dashboard import urls
from support.serving import PASSWORD
from system.browser.acting import begun, findings_everywhere, work
from system.browser.conftest import SCRIPT, watched

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIGNED_OUT = "/sign-in/"
PAGES = (
    "/",
    "/trainings/",
    "/trainings/new/",
    "/trainings/<training>/",
    "/trainings/<training>/events/",
    "/models/",
    "/models/new/",
    "/models/<model>/",
    "/models/<model>/ask/",
    "/clients/",
    "/clients/<client>/",
    "/people/",
    "/account/",
    "/account/password/",
    "/nowhere/",
)
REFUSED = {"/trainings/new/": "Make the training", "/models/<model>/ask/": "Ask"}
"""Pages that are looked at once more with what is wrong beside their fields: a button that asks for too little."""
NO_PAGES = {"training-part", "training-data", "trainings-data", "news", "training-check", "sign-out", "first-run"}
"""Parts of pages, data, and what is no page to stay on; the first run has a test of its own."""


def test_every_page_is_among_them():
    ids = dict.fromkeys(("<training>", "<model>", "<client>"), "00000000-0000-4000-8000-000000000000")
    found = {get_resolver().resolve(filled(path, ids)).url_name for path in (*PAGES, SIGNED_OUT) if path != "/nowhere/"}
    forms = {
        pattern.name
        for pattern in urls.urlpatterns
        if re.search(r"(add|connect|remove|revoke|groups|<slug:move>)/", str(pattern.pattern))
    }

    assert found == {pattern.name for pattern in urls.urlpatterns} - forms - NO_PAGES


def filled(path: str, ids: dict[str, str]) -> str:
    for name, value in ids.items():
        path = path.replace(name, value)
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def window(server, chromium):
    """Somebody who is signed in, on a server where something has happened."""
    async with watched(chromium, server.url) as opened:
        await opened.go("/sign-in/?next=/account/")
        await opened.page.get_by_label("User name").fill(SCRIPT)
        await opened.page.get_by_label("Password").fill(PASSWORD)
        await opened.press("Sign in")
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ids(server, window):
    await window.page.get_by_label("What is it for?").fill("test")
    await window.press("Make a token")
    with server.client(Authorization=f"Token {await window.page.locator('.secret').inner_text()}") as actor:
        training, tokens = begun(actor, "anna", "bert")
        assert actor.post(f"/api/trainings/{training}/start/").status_code == 202
        for token in tokens:
            with server.client(Authorization=f"Token {token}") as client:
                work(client)
        assert actor.post("/api/groups/", json={"name": "wards"}).status_code == 201
        actor.post("/api/clients/invitations/", json={"username": "carl"})
        record = actor.get(f"/api/trainings/{training}/").json()
    return {"<training>": training, "<model>": record["model"], "<client>": record["clients"][0]["id"]}


@pytest.mark.parametrize("path", PAGES)
async def test_axe_finds_nothing_serious_on_a_page(window, ids, path):
    await window.go(filled(path, ids))

    assert await findings_everywhere(window) == {}


@pytest.mark.parametrize("path", REFUSED)
async def test_axe_finds_nothing_serious_where_something_was_refused(window, ids, path):
    await window.go(filled(path, ids))
    assert await window.press(REFUSED[path]) == 400

    assert await window.page.locator("[aria-invalid]:focus").count() == 1, "what is wrong has the keyboard"
    assert await findings_everywhere(window) == {}


async def test_axe_finds_nothing_serious_before_one_is_signed_in(server, chromium):
    async with watched(chromium, server.url) as opened:
        await opened.go(SIGNED_OUT)
        assert await findings_everywhere(opened) == {}
