"""A federation from nothing, by who has a browser and a terminal on the client's machine: nobody calls the API.

The client is a process, enrolled by the line that the page shows. And the pages of models and people, as everybody
must be able to use them.
"""

import re
import shlex
import signal
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import expect

from hansa.simulation import demo
from support.asking import png
from support.serving import PASSWORD, environment, furnish, serving
from system.browser.acting import serious_findings, stored
from system.browser.conftest import SCRIPT, SETTINGS, watched

pytestmark = pytest.mark.asyncio(loop_scope="module")

HANSA = str(Path(sys.executable).with_name("hansa"))
PROGRAM = files(demo) / "files" / "shapes.pt"
TRAINER = """
import numpy as np
from hansa.client import TrainResult
from hansa.simulation.demo import perceptron, shapes

images, kinds = shapes.dealt(64, np.full(4, 0.25), np.random.default_rng(1))

class Mine:
    def train(self, params, config):
        rng = np.random.default_rng(config.seed)
        after = perceptron.trained(params, images, kinds, lr=0.1, rng=rng)
        return TrainResult(after, num_examples=64, metrics=perceptron.measured(after, images, kinds))

    def evaluate(self, params, config):
        return {"num_examples": 64, **perceptron.measured(params, images, kinds)}

trainer = Mine()
"""


@pytest.fixture
def machine(tmp_path):
    """The client's: a folder with a trainer, and a way to run `hansa` there until the test ends."""
    (tmp_path / "trainer.py").write_text(TRAINER)
    started = []

    def run(*words, wait):
        process = subprocess.Popen(
            [HANSA, *words],
            cwd=tmp_path,
            env={**environment(tmp_path / "none"), "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        if wait:
            told, _ = process.communicate(timeout=60)
            assert process.returncode == 0, told

    yield run
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()


def code_of(server):
    for line in server.process.stdout:
        if found := re.search(r"code: ([0-9A-Z-]{19})$", line.strip()):
            return found[1]
    raise AssertionError("the server ended without a code")


async def test_from_the_first_run_to_a_finished_training_and_its_prediction(tmp_path, chromium, machine):
    with serving(tmp_path / "home", settings=SETTINGS) as server:
        async with watched(chromium, server.url) as window:
            page = window.page
            await window.go("/")
            await page.get_by_label("Code from the terminal").fill(code_of(server))
            await page.get_by_label("User name").fill("me")
            await page.get_by_label("Password", exact=True).fill(PASSWORD)
            await page.get_by_label("Password, again").fill(PASSWORD)
            await window.press("Make the account")

            await page.get_by_role("link", name="Models").click()
            await page.get_by_role("link", name="Upload a model").click()
            await page.get_by_label(re.compile("^The model.s file")).set_input_files(str(PROGRAM))
            assert await page.get_by_label("Name").input_value() == "shapes"
            await page.get_by_text("More: input shape").click()
            await page.get_by_label("Shape of its input").fill("any, 1, 12, 12")
            await page.get_by_role("button", name="Upload", exact=True).click()
            await page.get_by_text("Found a program of 6 layers").wait_for()

            await page.get_by_role("link", name="Clients").click()
            await page.get_by_label("Its name").fill("anna")
            await window.press("Invite")
            line = shlex.split(await page.locator(".secret").inner_text())
            assert line[0] == "hansa"
            machine(*line[1:], wait=True)
            machine("client", "run", "trainer:trainer", "--as", "anna", wait=False)

            await page.get_by_role("link", name="Models").click()
            await page.get_by_role("link", name="shapes").click()
            await page.get_by_role("link", name="Train it").click()
            await page.get_by_label("Clients", exact=True).fill("anna")
            await page.get_by_label("Rounds", exact=True).fill("2")
            async with page.expect_navigation():
                await page.get_by_role("button", name="Make the training").click()
            async with page.expect_navigation():
                await page.get_by_role("button", name="Start").click()
            await page.get_by_text("all 2 rounds are done").first.wait_for()

            await page.get_by_role("link", name="Models").click()
            await page.get_by_role("link", name="shapes", exact=True).first.click()
            await page.get_by_role("link", name="Ask it").click()
            await page.get_by_label("Its outputs are").select_option("logits")
            await page.get_by_label("Uncertainty from").select_option("mc_dropout")
            await page.get_by_role("button", name="Ask with random numbers").click()
            await page.get_by_text("mc_dropout, 20 passes").wait_for()
            assert await page.locator("svg.bars .bar").count() == 4


@pytest.fixture(scope="module")
def furnished(tmp_path_factory):
    """A server with an administrator, and names that are HTML wherever somebody may choose one."""
    with serving(furnish(tmp_path_factory.mktemp("models") / "home")) as server:
        with server.client() as client:
            token = client.post("/api/tokens/", auth=("root", PASSWORD), json={"name": "tests"}).json()["token"]
        with server.client(Authorization=f"Token {token}") as actor:
            file = ("net.pt", PROGRAM.read_bytes())
            said = {"name": SCRIPT, "description": SCRIPT, "input_shape": ["None", "1", "12", "12"]}
            program = actor.post("/api/models/", files={"model_file": file}, data=said).json()["model_id"]
            numbers = stored(actor, SCRIPT)
            actor.post("/api/groups/", json={"name": SCRIPT})
            actor.post("/api/clients/invitations/", json={"username": "anna"})
        yield server, program, numbers


@pytest_asyncio.fixture(loop_scope="module")
async def desk(furnished, chromium):
    """The administrator's window."""
    async with watched(chromium, furnished[0].url) as window:
        await window.go("/sign-in/?next=/models/")
        await window.page.get_by_label("User name").fill("root")
        await window.page.get_by_label("Password").fill(PASSWORD)
        await window.press("Sign in")
        yield window


async def test_pages_of_models_show_names_as_text_and_can_be_used_by_everybody(desk, furnished):
    _, program, numbers = furnished
    for path in ("/models/", f"/models/{program}/"):
        await desk.go(path)
        assert SCRIPT in await desk.text()
    assert await serious_findings(desk) == [], "a model with layers"
    await desk.go(f"/models/{numbers}/")
    assert await serious_findings(desk) == []


async def test_a_question_is_asked_by_keyboard_alone_with_a_picture_that_is_shown_before_it_is_sent(desk, furnished):
    page = desk.page
    await desk.go(f"/models/{furnished[1]}/ask/")
    image = png(*(bytes([0, 255] * 6) for _ in range(12)))
    await page.get_by_label("An image, or a file").set_input_files(
        files=[{"name": "<b>.png", "mimeType": "image/png", "buffer": image}]
    )
    await page.locator("img.preview").wait_for()
    assert "<b>.png" in await desk.text()
    await page.get_by_label("Its outputs are").focus()
    await page.keyboard.type("logits")
    button = page.get_by_role("button", name="Ask", exact=True)
    for _ in range(10):
        await page.keyboard.press("Tab")
        if await button.evaluate("(button) => button === document.activeElement"):
            break
    await expect(button).to_be_focused()
    await page.keyboard.press("Enter")
    await page.locator("svg.bars").wait_for()
    assert "Asked last: <b>.png" in await desk.text()
    assert await serious_findings(desk) == []
