"""CSRF_USE_SESSIONS: the secret is read from the session, in the database, on the request's thread."""

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.urls import path

from lifecycle.handler.exchanges import Ask, ask_asgi

MIDDLEWARE = tuple(
    f"hansa.server.lifecycle.middleware.{name}"
    for name in ("SessionMiddleware", "CommonMiddleware", "CsrfViewMiddleware")
)


async def awaited(request: HttpRequest) -> HttpResponse:
    return HttpResponse("in")


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse(get_token(request))


urlpatterns = [path("awaited/", awaited), path("plain/", plain)]


@pytest.mark.parametrize("target", ["/awaited/", "/plain/"])
@pytest.mark.django_db(transaction=True)
async def test_the_secret_may_be_kept_in_the_session(serve: Any, django_site: Any, target: str) -> None:
    django_site.CSRF_USE_SESSIONS = True
    django_site.SESSION_ENGINE = "django.contrib.sessions.backends.db"
    session = SessionStore()
    await sync_to_async(session.save)()
    handler = serve(__name__, middleware=MIDDLEWARE)
    cookie = {"Cookie": f"sessionid={session.session_key}"}

    token = (await ask_asgi(handler, Ask("GET", "/plain/", cookie))).body.decode()
    refused = await ask_asgi(handler, Ask("POST", target, cookie))
    taken = await ask_asgi(handler, Ask("POST", target, {**cookie, "X-CSRFToken": token}))
    await sync_to_async(handler.lender.shutdown)()

    assert (refused.status, taken.status) == (403, 200)
