"""The dashboard in a browser, from an empty server on: what a person does, by mouse and by keyboard."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from safetensors.numpy import save

from support.serving import PASSWORD, serving
from system.browser.conftest import SETTINGS, Window, watched

pytestmark = pytest.mark.asyncio(loop_scope="module")

AXE = (Path(__file__).parent / "vendor/axe-core/axe.min.js").read_text()
"""Deque's axe: finds what those who cannot see, or use no mouse, would stumble over."""
SIZES = ({"width": 1280, "height": 900}, {"width": 390, "height": 844})


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


async def serious_findings(window: Window) -> list[str]:
    """What axe finds on the page, but for what it calls minor or moderate."""
    # In the page's own world no script may come in from outside: that is the policy that is kept here.
    session = await window.page.context.new_cdp_session(window.page)
    await session.send("Runtime.evaluate", {"expression": AXE})
    found = await session.send(
        "Runtime.evaluate",
        {
            "expression": "axe.run(document).then((found) => JSON.stringify(found.violations))",
            "awaitPromise": True,
            "returnByValue": True,
        },
    )
    violations = json.loads(found["result"]["value"])
    return [
        f"{each['id']}: {each['help']}: {each['nodes'][0]['html'][:200]}"
        for each in violations
        if each["impact"] in ("serious", "critical")
    ]


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


async def test_every_page_can_be_used_by_everybody_in_light_and_dark_on_a_desk_and_on_a_telephone(
    empty_server, chromium
):
    async with watched(chromium, empty_server.url) as window:
        await window.go("/sign-in/?next=/trainings/")
        findings = {"sign in": await serious_findings(window)}
        await window.page.get_by_label("User name").fill("me")
        await window.page.get_by_label("Password").fill(PASSWORD)
        await window.press("Sign in")
        assert window.path == "/trainings/"
        for scheme in ("light", "dark"):
            await window.page.emulate_media(color_scheme=scheme)
            for size in SIZES:
                await window.page.set_viewport_size(size)
                for path in ("/", "/trainings/", "/account/", "/account/password/", "/nowhere/"):
                    await window.go(path)
                    findings[f"{path} {scheme} {size['width']}"] = await serious_findings(window)
                    wide = await window.page.evaluate("document.documentElement.scrollWidth")
                    assert wide <= size["width"], f"{path} is {wide} pixels wide, the screen {size['width']}"
    assert {page: found for page, found in findings.items() if found} == {}


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
            training, token = begun(actor)
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


def begun(actor):
    """A training of one round with one client, and the client's token."""
    code = actor.post("/api/clients/invitations/", json={"username": "anna"}).json()["code"]
    token = actor.post("/api/clients/enroll/", json={"code": code}).json()["token"]
    model = actor.post("/api/models/", files={"model_file": ("m.safetensors", params(0.0))}, data={"name": "small"})
    plan = {"rounds": 1, "evaluation": {"every": 0}}
    wanted = {"model_id": model.json()["model_id"], "plan": plan, "clients": ["anna"]}
    return actor.post("/api/trainings/", json=wanted).json()["training_id"], token


def params(value):
    return save({"w": np.full(3, value, np.float32)})


def work(client):
    """Everything that a round asks of a client."""
    task = client.post("/api/tasks/next/?wait=10", json={"instance": "one"}).json()
    sent, digest = params(1.0), hashlib.sha256(params(1.0)).hexdigest()
    assert client.put(f"/api/tasks/{task['id']}/update/{digest}/", content=sent).status_code == 200
    said = {"digest": digest, "num_examples": 3, "metrics": {"loss": 0.5}, "seconds": 0.1}
    assert client.post(f"/api/tasks/{task['id']}/report/", json=said).status_code == 200
