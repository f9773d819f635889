"""The dashboard in a browser, from an empty server on: what a person does, by mouse and by keyboard."""

import re

import pytest
import pytest_asyncio

from support.serving import PASSWORD, serving
from system.browser.acting import begun, serious_findings, work
from system.browser.conftest import SETTINGS, watched

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def empty_server(tmp_path_factory):
    """A server that nobody has an account on."""
    with serving(tmp_path_factory.mktemp("empty") / "home", settings=SETTINGS) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def visit(empty_server, chromium):
    """A window of somebody who has just been told of the server."""
    async with watched(chromium, empty_server.url) as window:
        yield window


def code_of(server):
    for line in server.process.stdout:
        if found := re.search(r"code: ([0-9A-Z-]{19})$", line.strip()):
            return found[1]
    raise AssertionError("the server ended without a code")


async def test_from_the_first_visit_to_a_token_by_keyboard_alone(empty_server, visit):
    page = visit.page
    await visit.go("/")
    assert visit.path == "/first-run/"
    assert await page.evaluate("document.activeElement.name") == "code"
    for text in (code_of(empty_server), "me", "", PASSWORD, PASSWORD):
        await page.keyboard.type(text)
        await page.keyboard.press("Tab")
    async with page.expect_navigation():
        await page.keyboard.press("Enter")
    assert visit.path == "/"
    assert await page.locator("h1").inner_text() == "Overview"

    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.textContent") == "Skip to the content"
    async with page.expect_navigation():
        await page.locator("summary").press("Enter")
        await page.get_by_role("link", name="Password and tokens").press("Enter")
    await page.get_by_label("What is it for?").focus()
    await page.keyboard.type("laptop")
    async with page.expect_navigation():
        await page.keyboard.press("Enter")
    assert re.fullmatch("[0-9a-f]{40}", await page.locator(".secret").inner_text())

    await page.locator("summary").press("Enter")
    async with page.expect_navigation():
        await page.get_by_role("button", name="Sign out").press("Enter")
    assert visit.path == "/sign-in/"


async def test_a_page_moves_with_its_training_without_being_loaded_again(empty_server, chromium):
    """A client works by the API; the page that is open shows what it did."""
    async with watched(chromium, empty_server.url) as window:
        page = window.page
        await window.go("/sign-in/?next=/account/")
        await page.get_by_label("User name").fill("me")
        await page.get_by_label("Password").fill(PASSWORD)
        await window.press("Sign in")
        await page.get_by_label("What is it for?").fill("test")
        await window.press("Make a token")
        with empty_server.client(Authorization=f"Token {await page.locator('.secret').inner_text()}") as actor:
            training, (token,) = begun(actor, "anna")
        await window.go(f"/trainings/{training}/")
        async with page.expect_navigation():
            await page.get_by_role("button", name="Start").click()
        await page.get_by_text("none of the 1 selected has asked for work yet").wait_for()
        await page.evaluate("window.loadedOnce = true")

        with empty_server.client(Authorization=f"Token {token}") as client:
            work(client)

        await page.get_by_text("round 1 made version 1").wait_for()
        await page.get_by_text("all 1 rounds are done").first.wait_for()
        await page.get_by_role("img", name=re.compile("loss: 0.5 in round 1")).wait_for()
        assert await page.evaluate("window.loadedOnce")
        assert await serious_findings(window) == []
