"""A person signs in with a form, is known by a session in the database, and signs out; the same on both handlers."""

import asyncio
import hashlib
from collections.abc import Callable
from itertools import count
from types import ModuleType
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth import authenticate, get_user_model, login, logout
from django.contrib.messages import get_messages, info
from django.contrib.sessions.models import Session
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect
from django.urls import path

from lifecycle.handler.exchanges import Answer, Ask, ask_asgi, ask_wsgi
from lifecycle.handler.middlewares import IN_PLACE, STOCK

PASSWORD = "correct horse"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

pytestmark = pytest.mark.django_db(transaction=True)


def sign_in(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return HttpResponse(get_token(request))
    user = authenticate(request, username=request.POST["name"], password=request.POST["password"])
    if user is None:
        return HttpResponse("wrong", status=403)
    login(request, user)
    info(request, "You are in.")
    return redirect("/me/")


def me(request: HttpRequest) -> HttpResponse:
    request.session["visits"] = request.session.get("visits", 0) + 1
    told = [str(message) for message in get_messages(request)]
    return HttpResponse(f"{request.user.get_username()} {request.session['visits']} {told}")


async def me_awaited(request: HttpRequest) -> HttpResponse:
    user = await request.auser()
    visits = await request.session.aget("visits", 0) + 1
    await request.session.aset("visits", visits)
    return HttpResponse(f"{user.get_username()} {visits} {[str(message) for message in get_messages(request)]}")


def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return HttpResponse("bye")


def urls(view: Callable[..., Any]) -> ModuleType:
    module = ModuleType("sign_in")
    vars(module)["urlpatterns"] = [path("in/", sign_in), path("me/", view), path("out/", sign_out)]
    return module


class Browser:
    """Keeps cookies and the token of the form."""

    def __init__(self, ask: Callable[[Ask], Answer]) -> None:
        self._ask = ask
        self.cookies: dict[str, str] = {}
        self.answers: list[Answer] = []

    def visit(self, target: str, form: dict[str, str] | None = None) -> bytes:
        cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        headers = {**(cookie if self.cookies else {}), **(FORM if form else {})}
        method, body = ("GET", b"") if form is None else ("POST", urlencode(form).encode())
        answer = self._ask(Ask(method, target, headers, body))
        self.answers.append(answer)
        for name, value in answer.headers:
            if name == "set-cookie":
                key, _, kept = value.partition(";")[0].partition("=")
                self.cookies[key] = kept
        return answer.body


def walk(ask: Callable[[Ask], Answer], monkeypatch: pytest.MonkeyPatch) -> list[Answer]:
    """A day of one person, with the same dice for each who is asked."""
    numbers = count()

    def dice(length: int, *_: Any, **__: Any) -> str:
        return hashlib.sha256(str(next(numbers)).encode()).hexdigest()[:length]

    for module in ("django.contrib.sessions.backends.base", "django.middleware.csrf"):
        monkeypatch.setattr(f"{module}.get_random_string", dice)
    Session.objects.all().delete()
    browser = Browser(ask)
    browser.visit("/me/")
    token = browser.visit("/in/").decode()
    person = {"name": "ada", "csrfmiddlewaretoken": token}
    browser.visit("/in/", {"name": "ada", "password": PASSWORD})
    browser.visit("/in/", {**person, "password": "wrong"})
    browser.visit("/in/", {**person, "password": PASSWORD})
    browser.visit("/me/")
    browser.visit("/me/")
    browser.visit("/out/")
    browser.visit("/me/")
    return browser.answers


@pytest.mark.parametrize("middleware", [STOCK, IN_PLACE], ids=["Django's", "ours"])
@pytest.mark.parametrize("view", [me, me_awaited], ids=["plain", "awaited"])
async def test_signing_in_and_out_is_the_same(
    home: Any,
    serve: Any,
    serve_wsgi: Any,
    django_site: Any,
    monkeypatch: pytest.MonkeyPatch,
    view: Any,
    middleware: tuple[str, ...],
) -> None:
    django_site.SESSION_ENGINE = "django.contrib.sessions.backends.db"
    django_site.MESSAGE_STORAGE = (
        "django.contrib.messages.storage.session.SessionStorage"  # cookies are signed with the time
    )
    django_site.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
    django_site.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # quick
    make = get_user_model().objects.create_user
    await asyncio.to_thread(make, username="ada", email="ada@example.org", password=PASSWORD)
    wsgi = serve_wsgi(urls(me), middleware=STOCK)
    wanted = await asyncio.to_thread(walk, lambda ask: ask_wsgi(wsgi, ask), monkeypatch)

    asgi = serve(urls(view), middleware=middleware)
    loop = asyncio.get_running_loop()

    def ask(each: Ask) -> Answer:
        return asyncio.run_coroutine_threadsafe(ask_asgi(asgi, each), loop).result(30)

    seen = await asyncio.to_thread(walk, ask, monkeypatch)

    asgi.lender.shutdown()
    assert seen == wanted
    assert [answer.status for answer in seen] == [200, 200, 403, 403, 302, 200, 200, 200, 200]
    assert [answer.body for answer in seen[-4:]] == [b"ada 2 ['You are in.']", b"ada 3 []", b"bye", b" 1 []"]
