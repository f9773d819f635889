"""An empty server tells its terminal the code for its first administrator, and dies before or after making them."""

import re

import httpx
import pytest

from support.serving import serving

PASSWORD = "hanse-1241-cogs"


def shown_code(server):
    """What the terminal shows, line by line, until there is a code."""
    for line in server.process.stdout:
        if found := re.search(r"code: ([0-9A-Z-]{19})$", line.strip()):
            return found[1]
    raise AssertionError("the server ended without a code")


def make(server, code, username="me"):
    """Fill in the form of the first run. None: the server died before it answered."""
    with server.client() as client:
        client.get("/first-run/")
        said = {"code": code, "username": username, "password": PASSWORD, "again": PASSWORD}
        token = {"csrfmiddlewaretoken": client.cookies["csrftoken"]}
        try:
            return client.post("/first-run/", data={**said, **token})
        except httpx.TransportError:
            return None


def signs_in(server, username):
    with server.client() as client:
        client.get("/sign-in/")
        said = {"username": username, "password": PASSWORD, "csrfmiddlewaretoken": client.cookies["csrftoken"]}
        return client.post("/sign-in/", data=said).status_code == 302


@pytest.mark.parametrize(("point", "is_made"), [("written", False), ("committed", True)])
def test_who_was_killed_while_they_made_the_first_administrator_goes_on_where_they_were(tmp_path, point, is_made):
    home = tmp_path / "home"
    with serving(home, settings={"HANSA_CRASH_AT": f"accounts.create_administrator.{point}"}) as dying:
        assert make(dying, shown_code(dying)) is None
        assert dying.process.wait(timeout=20) == -9

    with serving(home) as server:
        if not is_made:
            assert make(server, shown_code(server)).headers["location"] == "/"
        assert signs_in(server, "me")
        with server.client() as client:
            assert client.get("/first-run/").headers["location"] == "/sign-in/"
