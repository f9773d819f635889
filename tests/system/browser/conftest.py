"""A real Chromium before a real `hansa serve`. What a page complains of in the browser's console fails its test."""

import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Dialog, Locator, Page, Response, async_playwright

from support.serving import PASSWORD, Serving, environment, serving

ARGUMENTS = (
    "--no-sandbox",  # CI is root in a container
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
)
SETTINGS = {"DJANGO_SETTINGS_MODULE": "system.browser.quick_settings", "PYTHONPATH": str(Path(__file__).parents[2])}
SCRIPT = "<script>alert(1)</script>"
"""A user name, as far as the database is concerned."""
PEOPLE = """
from hansa.server.process import manage
manage(["migrate", "--verbosity", "0"])
from hansa.server.accounts.models import User
User.objects.create_user("dora", password={password!r})
User.objects.create_user("guessed", password={password!r})
User.objects.create_superuser({script!r}, password={password!r})
"""
REPORT_VIOLATIONS = """
window.addEventListener("securitypolicyviolation", (event) =>
    violated(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`));
"""


@dataclass
class Window:
    """One window of a browser, with what its pages have complained of."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    async def go(self, path: str) -> int:
        """The status of the page at a path."""
        response = await self.page.goto(path)
        assert response is not None
        return response.status

    async def press(self, button: str | Locator) -> int:
        """The status of the page that a button leads to."""
        if isinstance(button, str):
            button = self.page.get_by_role("button", name=button, exact=True)
        await self.page.evaluate("document.body.setAttribute('data-before', '')")
        async with self.page.expect_event("response", _is_page) as answer:
            await button.click()
        response: Response = await answer.value
        # DRF's script writes the page anew when the answer has come: no navigation tells when.
        await self.page.locator("body[data-before]").wait_for(state="detached")
        await self.page.wait_for_load_state("load")
        return response.status

    async def sign_in(self, username: str, password: str = PASSWORD, *, then: str = "/api/users/myself/") -> None:
        """Fill in the form of the API's pages."""
        await self.go(f"/api-auth/login/?next={then}")
        await self.page.get_by_label("User name").fill(username)
        await self.page.get_by_label("Password").fill(password)
        await self.page.get_by_role("button", name="Sign in").click()
        await self.page.wait_for_load_state("load")

    @property
    def path(self) -> str:
        """Where the window is."""
        return urlsplit(self.page.url).path

    async def text(self) -> str:
        """What can be read on the page."""
        return await self.page.locator("body").inner_text()

    def hear(self, message: ConsoleMessage) -> None:
        """Keep a complaint. That a document or a call was refused is for the test to judge."""
        refused = message.text.startswith("Failed to load resource")
        where = urlsplit(message.location["url"]).path
        known = message.location["url"] == self.page.url or where.startswith(("/api/", "/favicon.ico"))
        if message.type in ("error", "warning") and not (refused and known):
            self.complaints.append(f"{where}: {message.text}")

    async def dismiss(self, dialog: Dialog) -> None:
        """No page asks anything by a dialog; a script that came in from outside would."""
        self.complaints.append(f"a dialog: {dialog.message}")
        await dialog.dismiss()


def _is_page(response: Response) -> bool:
    is_redirect = 300 <= response.status < 400
    return not is_redirect and "/static/" not in response.url and not response.url.endswith("/favicon.ico")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server of its own: failed sign-ins are counted by address."""
    home: Path = tmp_path_factory.mktemp("browser") / "home"
    program = PEOPLE.format(password=PASSWORD, script=SCRIPT)
    subprocess.run([sys.executable, "-c", program], env=environment(home, SETTINGS), check=True, capture_output=True)
    with serving(home, settings=SETTINGS) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    """The system's Chromium, or else the one that playwright has installed."""
    async with async_playwright() as playwright:
        program = shutil.which("chromium") or shutil.which(playwright.chromium.executable_path)
        if program is None:
            pytest.fail("There is no browser: apt-get install chromium, or playwright install chromium.")
        browser = await playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def window(server: Serving, chromium: Browser) -> AsyncIterator[Window]:
    """A window without cookies."""
    async with watched(chromium, server.url) as opened:
        yield opened


@asynccontextmanager
async def watched(chromium: Browser, url: str) -> AsyncIterator[Window]:
    """A window without cookies, whose pages' complaints fail the test when it is closed."""
    context = await chromium.new_context(base_url=url)
    context.set_default_timeout(30_000)
    opened = Window(await context.new_page())
    await context.expose_binding("violated", lambda _, what: opened.complaints.append(what))
    await context.add_init_script(REPORT_VIOLATIONS)
    opened.page.on("console", opened.hear)
    opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.page.on("dialog", opened.dismiss)
    yield opened
    await context.close()
    assert opened.complaints == []
