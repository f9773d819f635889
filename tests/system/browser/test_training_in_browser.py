"""A training's page and the form of a new one in a browser: drawn, followed, by keyboard, and without scripts."""

import re

import pytest
import pytest_asyncio
from playwright.async_api import expect

from support.serving import PASSWORD, furnish, serving
from system.browser.acting import begun, findings_everywhere, sign_in, stored, token_of, work
from system.browser.conftest import SCRIPT, watched

pytestmark = pytest.mark.asyncio(loop_scope="module")

IMAGE = "<img src=x onerror=alert(1)>"
"""A metric's name, as far as its client is concerned."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with an administrator."""
    with serving(furnish(tmp_path_factory.mktemp("trainings") / "home")) as running:
        yield running


@pytest.fixture(scope="module")
def token(server):
    return token_of(server)


@pytest.fixture
def actor(server, token):
    with server.client(Authorization=f"Token {token}") as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def desk(server, chromium):
    """The administrator's window."""
    async with watched(chromium, server.url) as window:
        await sign_in(window)
        yield window


@pytest.fixture(scope="module")
def trained(server, token):
    """A training of one round by two clients, with names that are HTML wherever somebody may choose one."""
    with server.client(Authorization=f"Token {token}") as actor:
        training, tokens = begun(actor, "anna", "bert", model=SCRIPT)
        actor.post(f"/api/trainings/{training}/start/")
        for value, client_token in enumerate(tokens, start=1):
            with server.client(Authorization=f"Token {client_token}") as client:
                work(client, float(value), {"loss": 1.0 / value, IMAGE: 0.5})
        actor.get(f"/api/trainings/{training}/?wait=20&revision=0")
        while actor.get(f"/api/trainings/{training}/").json()["status"] != "completed":
            actor.get(f"/api/trainings/{training}/?wait=5&revision=0")
    return training


async def test_a_trainings_page_is_for_everybody_in_light_and_dark_on_a_desk_and_on_a_telephone(desk, trained):
    await desk.go(f"/trainings/{trained}/?highlight=anna")
    await desk.page.locator(".drawn .u-over").first.wait_for()
    assert await findings_everywhere(desk) == {}


async def test_names_that_are_html_are_text_wherever_they_stand(desk, trained):
    """The window's complaints fail the test: of a script that ran, and of one that the policy had to stop."""
    for path in (f"/trainings/{trained}/", "/trainings/", "/"):
        await desk.go(path)
        assert SCRIPT in await desk.text()
    await desk.go(f"/trainings/{trained}/")
    await desk.page.locator(".drawn .u-over").first.wait_for()
    assert IMAGE in await desk.text()
    assert await desk.page.locator("main img").count() == 0


async def test_a_curve_answers_the_pointer_and_tells_of_the_client_that_is_looked_at(desk, trained):
    await desk.go(f"/trainings/{trained}/?highlight=bert")
    loss = desk.page.locator("figure[data-metric=loss]")

    await loss.locator(".u-over").hover()

    values = await loss.locator(".u-value").all_inner_texts()
    assert values == ["1", "0.75", "0.5", "1", "0.5"], "round, mean, least, most, and bert"
    assert await loss.locator("svg").get_attribute("aria-label") == (
        "loss: 0.75 in round 1, 0.75 in round 1; over the clients from 0.5 to 1"
    )


async def test_without_scripts_the_page_tells_the_same_and_the_form_works(server, chromium, actor, trained):
    model = stored(actor, "plain")
    context = await chromium.new_context(base_url=server.url, java_script_enabled=False)
    page = await context.new_page()
    await page.goto("/sign-in/?next=/trainings/new/")
    await page.get_by_label("User name").fill("root")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()

    await page.get_by_label("Model", exact=True).select_option(model)
    await page.get_by_label("Rounds", exact=True).fill("0")
    await page.get_by_role("button", name="Make the training").click()
    await page.locator("#plan-rounds-wrong").get_by_text("Write a whole number of 1 or more.").wait_for()
    await page.get_by_label("Rounds", exact=True).fill("3")
    await page.get_by_role("button", name="Make the training").click()
    await page.get_by_text("3 rounds; each asks all participants to train.").wait_for()
    await page.goto(f"/trainings/{trained}/")
    assert await page.locator("figure[data-metric=loss] svg").is_visible()
    await context.close()


async def test_a_training_is_made_started_and_given_a_machine_by_keyboard_alone(server, desk, actor):
    model = stored(actor, "keys")
    page = desk.page
    await desk.go(f"/trainings/new/?model={model}")
    await page.get_by_label("Rounds", exact=True).focus()
    await page.keyboard.press("Control+A")
    await page.keyboard.type("none")
    await page.locator("#plan-rounds-wrong").get_by_text("Write a whole number.").wait_for()
    await page.keyboard.press("Control+A")
    await page.keyboard.type("1")
    await page.locator("#check").get_by_text("1 round; each asks all participants to train.").wait_for()
    await expect(page.locator("#plan-rounds-wrong")).to_be_hidden()
    async with page.expect_navigation():
        await page.keyboard.press("Enter")
    training = desk.path

    await page.get_by_label("Connect a new machine").focus()
    await page.keyboard.type("dora")
    async with page.expect_navigation():
        await page.keyboard.press("Enter")
    code = re.search(r"hansa enroll (\S+) --server (\S+)", await page.locator(".secret").inner_text())
    assert code[2] == server.url
    with server.client() as machine:
        dora = machine.post("/api/clients/enroll/", json={"code": code[1]}).json()["token"]
    async with page.expect_navigation():
        await page.get_by_role("link", name="Back to the training").press("Enter")
    async with page.expect_navigation():
        await page.get_by_role("button", name="Start").press("Enter")
    assert desk.path == training
    with server.client(Authorization=f"Token {dora}") as client:
        work(client, metrics={"loss": 0.25})

    await page.get_by_role("img", name=re.compile("loss: 0.25 in round 1")).wait_for(state="attached")
    await page.locator("#part-versions").get_by_text("dora").wait_for()


async def test_json_beside_the_form_is_checked_as_it_is_typed_and_stays_as_it_was_typed(desk, actor):
    stored(actor, "pasted")
    page = desk.page
    await desk.go("/trainings/new/")
    beside = page.get_by_label("As JSON")
    await page.get_by_label("Rounds", exact=True).fill("3")
    await expect(beside).to_have_value(re.compile('"rounds": 3'))

    await beside.fill('{"rounds": 0}')
    await page.locator("#check").get_by_text("Rounds: Write a whole number of 1 or more.").wait_for()
    await beside.fill('{"rounds": 12}')
    await page.locator("#check").get_by_text("12 rounds; each asks all participants to train.").wait_for()
    await page.get_by_label("Rounds", exact=True).fill("4")
    await page.locator("#check").get_by_text("4 rounds; each asks all participants to train.").wait_for()
    await expect(beside).to_have_value('{"rounds": 12}')
    await page.get_by_role("button", name="Fill in the form from this JSON").click()
    await expect(page.get_by_label("Rounds", exact=True)).to_have_value("12")


async def test_a_page_follows_again_when_the_server_was_killed_amid_a_round_and_has_each_event_once(tmp_path, chromium):
    home = furnish(tmp_path / "home")
    with serving(home) as first:
        token = token_of(first)
        with first.client(Authorization=f"Token {token}") as actor:
            training, (greta, hans) = begun(actor, "greta", "hans")
            actor.post(f"/api/trainings/{training}/start/")
        async with watched(chromium, first.url) as window:
            page = window.page
            await sign_in(window)
            await window.go(f"/trainings/{training}/")
            await page.evaluate(
                """(path) => {
                    window.heard = [];
                    new EventSource(path).onmessage = (event) => {
                        window.heard.push(Number(event.lastEventId));
                        document.body.dataset.heard = window.heard.length;  // what can be waited for without eval
                    };
                }""",
                f"/api/trainings/{training}/events/?after=0",
            )
            with first.client(Authorization=f"Token {greta}") as client:
                work(client)
            await page.locator("#part-log").get_by_text(re.compile("greta.* was accepted")).wait_for()
            first.kill()
            await page.get_by_text("The server does not answer").wait_for()
            with serving(home, port=first.port) as second:
                with second.client(Authorization=f"Token {token}") as actor:
                    with second.client(Authorization=f"Token {hans}") as client:
                        work(client)
                    await page.get_by_text("round 1 made version 1").wait_for()
                    await expect(page.locator(".trouble")).to_be_empty()
                    while actor.get(f"/api/trainings/{training}/").json()["status"] != "completed":
                        actor.get(f"/api/trainings/{training}/?wait=5&revision=0")
                    events = actor.get(f"/api/trainings/{training}/events/").json()["events"]
                await page.locator(f"body[data-heard='{len(events)}']").wait_for()
                assert await page.evaluate("window.heard") == [event["id"] for event in events]
                shown = await page.locator("#part-log li").evaluate_all("all => all.map(each => each.id)")
                assert shown == [f"event-{event['id']}" for event in reversed(events)], "each once, also on the page"
                await page.goto("about:blank")  # before this server ends as well
            window.complaints[:] = [each for each in window.complaints if "ERR_" not in each]  # it was gone for a while
