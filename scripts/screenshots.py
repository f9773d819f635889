"""Takes the pictures in docs/pictures: a server is started, filled by `hansa demo --fill`, and looked at in Chromium.

pip install -e '.[dev]'; python scripts/screenshots.py
python scripts/screenshots.py --every FOLDER   # all pages, at 1280 and 390 pixels, in light and dark: to be looked at

Needs Chromium (apt-get install chromium, or playwright install chromium).
"""

import argparse
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
HANSA = str(Path(sys.executable).with_name("hansa"))
PORT = 8739
URL = f"http://127.0.0.1:{PORT}"
PASSWORD = "hanse-1241-cogs"  # noqa: S105  # of a server that lives for a minute
LARGEST = 150_000
"""Bytes of a picture."""
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
SIZE = {"width": 1040, "height": 700}


@contextmanager
def served(home: Path) -> Iterator[str]:
    """A new server; what is yielded is the code with which its first administrator is made."""
    environment = {**os.environ, "HANSA_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    command = [HANSA, "serve", "--port", str(PORT)]
    with subprocess.Popen(  # noqa: S603  # our own program
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        try:
            for line in server.stdout or ():
                if found := re.search(r"code: ([0-9A-Z-]{19})$", line.strip()):
                    yield found[1]
                    break
            else:
                raise SystemExit("the server ended without a code")
        finally:
            server.terminate()


def drawing(path: Path) -> None:
    """A triangle, dark on light, as somebody might draw it: a grey PNG."""
    side = 96
    rows = [b"\0" + bytes(40 if _is_on_the_line(x, y) else 250 for x in range(side)) for y in range(side)]

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def _is_on_the_line(x: int, y: int) -> bool:
    share = (y - 16) / 62
    beside = abs(x - 48) - 33 * share
    return 0 <= share <= 1 and (abs(beside) < 5 or (share > 0.9 and beside < 0))


def begin(page: Page, code: str, folder: Path) -> None:
    """Make the first administrator and a token of theirs, and fill the server."""
    page.goto(f"{URL}/")
    fields = {"Code from the terminal": code, "User name": "me", "Password": PASSWORD, "Password, again": PASSWORD}
    for label, text in fields.items():
        page.get_by_label(label, exact=True).fill(text)
    page.get_by_role("button", name="Make the account").click()
    page.wait_for_url(f"{URL}/")
    page.goto(f"{URL}/account/")
    page.get_by_label("What is it for?").fill("pictures")
    page.get_by_role("button", name="Make a token").click()
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(page.locator(".secret").inner_text())
    command = [HANSA, "demo", "--fill", "--server", URL, "--token-file", str(token)]
    subprocess.run(command, check=True)  # noqa: S603  # as above


def take(page: Page, name: str) -> None:
    """One picture: what is seen without scrolling."""
    path = PICTURES / f"{name}.png"
    page.screenshot(path=str(path))
    size = path.stat().st_size
    print(f"{path.name}: {size:,} bytes")
    if size > LARGEST:
        raise SystemExit(f"{path.name} has {size:,} bytes; at most {LARGEST:,} are wanted. Make the window smaller.")


def look(page: Page, folder: Path) -> None:
    """From page to page."""
    page.goto(f"{URL}/")
    take(page, "overview")
    page.get_by_role("link", name="shapes", exact=True).click()
    page.locator("#part-round").wait_for()
    page.wait_for_load_state("networkidle")
    take(page, "training")
    page.get_by_role("heading", name="Learning curves").evaluate("heading => heading.scrollIntoView()")
    take(page, "curves")
    page.goto(f"{URL}/clients/")
    take(page, "clients")
    page.goto(f"{URL}/models/")
    page.get_by_role("link", name="shapes", exact=True).first.click()
    take(page, "model")
    page.get_by_role("link", name="Ask it").click()
    picture = folder / "triangle.png"
    drawing(picture)
    page.get_by_label(re.compile("^An image")).set_input_files(str(picture))
    page.get_by_label("Uncertainty from").select_option("mc_dropout")
    page.get_by_label("Its outputs are").select_option("logits")
    page.get_by_label("Beside version").fill("1")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.locator("svg.bars").first.wait_for()
    page.set_viewport_size({**SIZE, "height": 980})
    take(page, "playground")


WIDTHS = (1280, 390)
PAGES = {
    "overview": "/",
    "trainings": "/trainings/",
    "training-new": "/trainings/new/?preset=byzantine",
    "training": "/trainings/{training}/",
    "events": "/trainings/{training}/events/",
    "models": "/models/",
    "model": "/models/{model}/",
    "ask": "/models/{model}/ask/",
    "model-new": "/models/new/",
    "clients": "/clients/",
    "client": "/clients/{client}/",
    "people": "/people/",
    "account": "/account/",
    "password": "/account/password/",
    "nowhere": "/nowhere/",
}


def look_at_every(browser: Browser, page: Page, folder: Path) -> None:
    """Each page from top to bottom, in each width and scheme."""
    named = {}
    for path, name in (("trainings", "^shapes$"), ("models", "^shapes$"), ("clients", "bremen")):
        page.goto(f"{URL}/{path}/")
        links = page.locator(f"main a[href^='/{path}/']", has_text=re.compile(name))
        address = next(each for each in links.evaluate_all("all => all.map(each => each.pathname)") if len(each) > 40)
        named[path.removesuffix("s")] = address.split("/")[2]
    state = page.context.storage_state()
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            size = ViewportSize(width=width, height=900)
            of_person = browser.new_context(viewport=size, color_scheme=scheme, storage_state=state)
            of_nobody = browser.new_context(viewport=size, color_scheme=scheme)
            for name, path in {**PAGES, "sign-in": "/sign-in/"}.items():
                shown = (of_nobody if name == "sign-in" else of_person).new_page()
                shown.goto(URL + path.format(**named))
                shown.wait_for_timeout(300)  # what is drawn by scripts; streams keep the network from being idle
                shown.screenshot(path=str(folder / f"{name}-{width}-{scheme}.png"), full_page=True)
                shown.close()
            of_person.close()
            of_nobody.close()


def main() -> None:
    """Take them all."""
    PICTURES.mkdir(exist_ok=True)
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--every", type=Path, metavar="FOLDER")
    every: Path | None = asked.parse_args().every
    program = shutil.which("chromium")
    with tempfile.TemporaryDirectory() as name, served(Path(name) / "home") as code, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.set_default_timeout(60_000)
        begin(page, code, Path(name))
        if every is None:
            look(page, Path(name))
        else:
            every.mkdir(parents=True, exist_ok=True)
            look_at_every(browser, page, every)
        browser.close()


if __name__ == "__main__":
    main()
