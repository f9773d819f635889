"""A training's page while something happens: what a person is about stays theirs, and what ends is told."""

import re

import pytest
import pytest_asyncio
from playwright.async_api import expect

from support.serving import furnish, serving
from system.browser.acting import begun, sign_in, token_of, work
from system.browser.conftest import watched

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with an administrator."""
    with serving(furnish(tmp_path_factory.mktemp("live") / "home")) as running:
        yield running


@pytest.fixture(scope="module")
def actor(server):
    with server.client(Authorization=f"Token {token_of(server)}") as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def desk(server, chromium):
    """The administrator's window."""
    async with watched(chromium, server.url) as window:
        await sign_in(window)
        yield window


def happens(server, token):
    """A client takes its task and reports: events of both, and another state of the training."""
    with server.client(Authorization=f"Token {token}") as client:
        work(client)


async def test_what_happens_takes_away_neither_focus_nor_an_opened_question_nor_what_was_typed(server, desk, actor):
    training, (ida, _) = begun(actor, "ida", "jan", rounds=2)
    actor.post(f"/api/trainings/{training}/start/")
    page = desk.page
    await desk.go(f"/trainings/{training}/")
    await page.get_by_label("Add clients").fill("somebody")
    await page.get_by_text("Cancel", exact=True).click()
    end = page.get_by_role("button", name="End it for good")
    await end.focus()
    await page.evaluate("document.activeElement.mine = true")  # that very element, and not one that looks like it

    happens(server, ida)
    await page.locator("#lane-0").get_by_text("reported").wait_for()
    await page.locator("#part-log").get_by_text(re.compile("ida.* was accepted")).wait_for()

    assert await page.evaluate("document.activeElement.mine")
    await expect(end).to_be_focused()
    assert await page.locator("#participant-forms input[name=names]").input_value() == "somebody"
    async with page.expect_navigation():
        await page.keyboard.press("Enter")
    await page.locator(".badge", has_text="cancelled").first.wait_for()


async def test_a_row_that_is_being_used_stays_the_same_while_another_comes_before_it(server, desk, actor):
    training, tokens = begun(actor, "kim", "lea", rounds=1)
    actor.post(f"/api/trainings/{training}/start/")
    page = desk.page
    await desk.go(f"/trainings/{training}/")
    await page.get_by_role("button", name="Remove kim").focus()

    with server.client(Authorization=f"Token {tokens[1]}") as client:
        task = client.post("/api/tasks/next/?wait=10", json={"instance": "one"}).json()
        client.post(f"/api/tasks/{task['id']}/release/", json={"reason": "no data today", "failed": True})
    await page.locator("#part-clients tr").nth(1).get_by_text("1 failure in a row").wait_for()

    await expect(page.get_by_role("button", name="Remove kim")).to_be_focused()


async def test_what_a_client_says_is_text_in_its_lane_and_in_the_log(server, desk, actor):
    """The window's complaints fail the test: of a script that ran, and of one that the policy had to stop."""
    training, (nele, _) = begun(actor, "nele", "otto", rounds=1)
    actor.post(f"/api/trainings/{training}/start/")
    page = desk.page
    await desk.go(f"/trainings/{training}/")
    evil = "<img src=x onerror=alert(1)><script>alert(2)</script>"

    with server.client(Authorization=f"Token {nele}") as client:
        task = client.post("/api/tasks/next/?wait=10", json={"instance": "one"}).json()
        client.post(f"/api/tasks/{task['id']}/release/", json={"reason": evil, "failed": True})

    await page.locator("#lane-0").get_by_text(evil).wait_for()
    await desk.go(f"/trainings/{training}/")
    assert evil in await page.locator("#lane-0").inner_text()
    assert evil in await page.locator("#part-log").inner_text()
    assert await page.locator("main img, main script").count() == 0


async def test_what_has_not_changed_is_not_sent_again(server, desk, actor):
    training, (mia, _) = begun(actor, "mia", "nils", rounds=1)
    actor.post(f"/api/trainings/{training}/start/")
    page = desk.page
    await desk.go(f"/trainings/{training}/")
    happens(server, mia)
    await page.locator("#part-log").get_by_text(re.compile("mia.* was accepted")).wait_for()

    answers = []
    for _ in range(2):
        async with page.expect_response(lambda each: "/parts/versions/" in each.url) as answer:
            await page.evaluate("htmx.trigger(document.body, 'moved-versions')")
        response = await answer.value
        await response.finished()
        answers.append(response.status)

    assert answers[1] == 304
    await expect(page.locator("#part-versions")).to_contain_text("the model as it was given")


async def test_who_has_signed_out_elsewhere_is_told_so_and_comes_back_to_the_page(server, chromium, actor):
    training, (olga, _) = begun(actor, "olga", "paul", rounds=1)
    actor.post(f"/api/trainings/{training}/start/")
    async with watched(chromium, server.url) as window:
        page = window.page
        await sign_in(window)
        await window.go(f"/trainings/{training}/?what=task")
        elsewhere = await page.context.new_page()
        await elsewhere.goto("/account/")
        await elsewhere.locator("summary", has_text="root").click()
        await elsewhere.get_by_role("button", name="Sign out").click()
        await elsewhere.get_by_role("heading", name="Sign in to Hansa").wait_for()

        happens(server, olga)
        await page.get_by_text("You have been signed out.").wait_for()
        assert await page.locator("#standing h1").count() == 1, "no page to sign in took the place of a part"
        await page.get_by_role("link", name="Sign in again").click()
        await page.wait_for_url(f"**/sign-in/?next=*{training}*what*")
        window.complaints[:] = [each for each in window.complaints if "401" not in each]


async def test_a_training_that_is_seen_no_more_is_told_so(server, chromium, actor):
    training, _ = begun(actor, "quin")
    async with watched(chromium, server.url) as window:
        page = window.page
        await sign_in(window)
        await page.route(f"**/api/trainings/{training}/events/**", lambda route: route.fulfill(status=404))
        await page.route("**/parts/standing/", lambda route: route.fulfill(status=404))
        await window.go(f"/trainings/{training}/")

        await page.get_by_text("This is gone, or no longer yours to see.").wait_for()
        window.complaints[:] = [each for each in window.complaints if "404" not in each]


async def test_the_overview_and_the_list_follow_all_trainings(desk, actor):
    training, _ = begun(actor, "sven", model="followed")
    page = desk.page
    for path, before, move, after in (
        ("/", "initial", "start", "ongoing"),
        ("/trainings/", "ongoing", "pause", "paused"),
    ):
        await desk.go(path)
        badge = page.locator(".training", has=page.get_by_role("link", name="followed")).locator(".badge")
        await expect(badge).to_have_text(before)
        actor.post(f"/api/trainings/{training}/{move}/")
        await expect(badge).to_have_text(after)
