"""Pages are asked for in process, through the whole lifecycle, with the cookie of a session."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from html import unescape
from importlib import import_module

import httpx
import pytest
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY

from hansa.server.lifecycle.bridge import call
from hansa.server.trainings.hints import HINTS
from support.people import Person, in_process

Visitor = Callable[..., "Browser"]


class Browser(httpx.AsyncClient):
    """Somebody who is signed in, and reads pages."""

    async def send_form(self, path: str, **fields: str) -> httpx.Response:
        """Fill in the form of a page, with the token that the page would have carried."""
        for form in ("/account/password/", "/sign-in/"):  # the one for who is signed in, the other for who is not
            await self.get(form)
        said = {**fields, "csrfmiddlewaretoken": self.cookies["csrftoken"]}
        return await self.post(path, data=said, headers={"Referer": f"http://localhost{path}"})


@pytest.fixture(autouse=True)
async def hints() -> AsyncIterator[None]:
    """Hints reach the requests that wait in this test."""
    HINTS.bind(asyncio.get_running_loop())
    yield
    HINTS.bind(None)


@pytest.fixture
def browser(handler):
    """Open a window in which somebody is signed in."""

    async def sign_in(person: Person) -> Browser:
        key = await call(_session_of, person)
        return Browser(transport=in_process(handler), base_url="http://localhost", cookies={"sessionid": key})

    return sign_in


def _session_of(person: Person) -> str:
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = str(person.user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = person.user.get_session_auth_hash()
    session.save()
    return session.session_key


def beside(page: httpx.Response, field: str) -> str:
    """What the page says is wrong with the field of this id; the field is described by it, and has the keyboard."""
    text = page.text
    said = re.search(rf'<p class="wrong" id="{field}-wrong">([^<]*)</p>', text)
    tag = re.search(rf'<(?:input|select|textarea) id="{field}"[^>]*>', text)
    assert said is not None, f"nothing is said of {field}"
    assert tag is not None
    assert f"{field}-wrong" in re.search('aria-describedby="([^"]*)"', tag[0])[1].split()
    assert 'aria-invalid="true"' in tag[0]
    assert text.count(" autofocus") == 1
    return unescape(said[1])


def words(page: httpx.Response) -> str:
    """What the page says, with its tags, and what stands for < and & as these."""
    assert page.headers["content-type"].startswith("text/html"), page.headers["content-type"]
    return unescape(page.text)
