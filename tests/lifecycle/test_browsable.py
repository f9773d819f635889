"""DRF's pages for people, over awaited views: rendered on a thread, byte for byte what DRF renders. Rows R9 and R10."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import rest_framework
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.sessions.backends.db import SessionStore
from django.urls import include, path
from rest_framework import exceptions, parsers, renderers
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.response import Response

from lifecycle.likeness import HOOKED, BareView, Serve, escaped
from lifecycle.project import Answered, make_view
from lifecycle.twins import BROWSABLE, KINDS, Plain, routed

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
ADMIN = (renderers.AdminRenderer, renderers.JSONRenderer)
SESSIONS = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
PAGES_OF_DRF = {
    "TEMPLATES": [{**settings.TEMPLATES[0], "DIRS": [Path(rest_framework.__file__).parent / "templates"]}],
}
"""Not those that an app of the project has put in their place."""
AUTH_URLS = path("auth/", include("rest_framework.urls"))


async def filled() -> None:
    await Group.objects.all().adelete()
    await Group.objects.abulk_create([Group(id=n, name=name) for n, name in ((1, "one"), (2, "two"), (3, "secret"))])


def page(answer: Answered) -> str:
    """The HTML, without what changes from one rendering to the next."""
    return re.sub(r'(name="csrfmiddlewaretoken" value|csrfToken": )[="]+\w+"', "", answer.body.decode())


PAGES: list[tuple[str, str, Any, str, int]] = [
    ("GET", "/groups/", None, JSON, 200),
    ("GET", "/groups/?page=2", None, JSON, 200),
    ("GET", "/groups/1/", None, JSON, 200),
    ("GET", "/groups/3/", None, JSON, 403),
    ("GET", "/groups/9/", None, JSON, 404),
    ("GET", "/groups/newest/", None, JSON, 200),
    ("POST", "/groups/", {"name": "one"}, JSON, 400),
    ("POST", "/groups/", "name=one", FORM, 400),
    ("POST", "/groups/", "{", JSON, 400),
    ("PUT", "/groups/1/", {"name": ""}, JSON, 400),
    ("DELETE", "/groups/1/", None, JSON, 200),  # 204, but for the page
    ("OPTIONS", "/groups/", None, JSON, 200),
    ("OPTIONS", "/groups/1/", None, JSON, 200),
    ("PUT", "/groups/", None, JSON, 405),
]


async def both(
    serve: Serve, kind: str, method: str, url: str, data: Any, content_type: str, **attributes: Any
) -> tuple[Answered, Answered]:
    """The page of this ViewSet, and of plain DRF's."""
    body = b"" if data is None else (data if isinstance(data, str) else json.dumps(data)).encode()
    sent = {"Accept": "text/html", **({"Content-Type": content_type} if body else {})}
    answers = []
    for each in (kind, "drf"):
        await filled()
        site = serve(*routed(each, **attributes), AUTH_URLS, **PAGES_OF_DRF)
        answers.append(await (site.ask_wsgi if each == "drf" else site.ask)(method, url, body, sent))
    return answers[0], answers[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("method", "url", "data", "content_type", "status"), PAGES)
async def test_r9_the_browsable_page_is_drfs(
    serve: Serve, transactional_db: None, kind: str, method: str, url: str, data: Any, content_type: str, status: int
) -> None:
    ours, theirs = await both(serve, kind, method, url, data, content_type, renderer_classes=BROWSABLE)
    assert ours.status == theirs.status == status
    assert page(ours) == page(theirs)
    assert "<html" in page(ours)


@pytest.mark.parametrize("kind", KINDS)
async def test_r9_the_page_has_forms_breadcrumbs_and_the_extra_actions(
    serve: Serve, transactional_db: None, kind: str
) -> None:
    await filled()
    site = serve(*routed(kind, renderer_classes=BROWSABLE), AUTH_URLS, **PAGES_OF_DRF)
    listing = (await site.ask(url="/groups/", headers={"Accept": "text/html"})).body.decode()
    assert 'name="name"' in listing  # the form of the serializer
    assert 'name="_content"' in listing  # raw data
    assert "Group List" in listing
    assert "<p>Groups of *people*.</p>" in listing
    assert '<a href="http://testserver/groups/newest/">Newest</a>' in re.sub(r"\s*class=\"[^\"]*\"", "", listing)
    assert "/auth/login/?next=/groups/" in listing
    one = (await site.ask(url="/groups/1/", headers={"Accept": "text/html"})).body.decode()
    assert '<a href="/groups/">Group List</a>' in one
    assert 'data-method="DELETE"' in one
    assert "Rename" in one


@pytest.mark.parametrize("kind", KINDS)
async def test_r9_forms_are_shown_to_those_who_may_send_them(serve: Serve, transactional_db: None, kind: str) -> None:
    class ReadOnly(BasePermission):
        def has_permission(self, request: Any, view: Any) -> bool:
            return request.method in ("GET", "OPTIONS")

    class AwaitedReadOnly(ReadOnly):
        async def ahas_permission(self, request: Any, view: Any) -> bool:
            return await Group.objects.aexists() and self.has_permission(request, view)

    for permission in (ReadOnly, AwaitedReadOnly):
        await filled()
        site = serve(
            *routed(kind, renderer_classes=BROWSABLE, permission_classes=(permission,)), AUTH_URLS, **PAGES_OF_DRF
        )
        answer = await site.ask(url="/groups/", headers={"Accept": "text/html"})
        assert answer.status == 200
        assert b'name="_content"' not in answer.body


@pytest.mark.parametrize("kind", KINDS)
async def test_r9_who_is_signed_in_by_a_session_can_sign_out(serve: Serve, transactional_db: None, kind: str) -> None:
    user = await get_user_model().objects.acreate(username="ada")
    session = SessionStore()
    session.update({"_auth_user_id": str(user.pk), "_auth_user_backend": settings.AUTHENTICATION_BACKENDS[0]})
    session["_auth_user_hash"] = user.get_session_auth_hash()
    await session.asave()
    await filled()
    policies = {"renderer_classes": BROWSABLE, "authentication_classes": (SessionAuthentication,)}
    site = serve(*routed(kind, **policies), AUTH_URLS, MIDDLEWARE=SESSIONS, **PAGES_OF_DRF)
    cookie = {"Accept": "text/html", "Cookie": f"{settings.SESSION_COOKIE_NAME}={session.session_key}"}
    answer = await site.ask(url="/groups/", headers=cookie)
    assert answer.status == 200
    assert b"ada" in answer.body
    assert b"/auth/logout/" in answer.body
    assert (await site.ask("POST", "/groups/", b"{}", {**cookie, "Content-Type": JSON})).status == 403  # no CSRF token


ADMIN_PAGES = [
    ("GET", "/groups/", None, JSON, 200),
    ("GET", "/groups/1/", None, JSON, 200),
    ("POST", "/groups/", {"name": "one"}, JSON, 400),
    ("POST", "/groups/", "name=one", FORM, 400),
    ("PUT", "/groups/1/", {"name": ""}, JSON, 400),
    ("DELETE", "/groups/1/", None, JSON, 303),
    ("GET", "/groups/9/", None, JSON, 404),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("method", "url", "data", "content_type", "status"), ADMIN_PAGES)
async def test_r9_drfs_admin_page_calls_handlers_itself_also_awaited_ones(
    serve: Serve, transactional_db: None, kind: str, method: str, url: str, data: Any, content_type: str, status: int
) -> None:
    ours, theirs = await both(serve, kind, method, url, data, content_type, renderer_classes=ADMIN)
    assert ours.status == theirs.status == status
    assert page(ours) == page(theirs)
    if status == 400:  # a list, or one, with the error beside it
        assert "one" in page(ours)


async def test_r9_drfs_admin_page_of_a_class_with_awaited_handlers(serve: Serve) -> None:
    class Things(BareView):
        renderer_classes = ADMIN
        parser_classes = (parsers.JSONParser,)

        async def get(self, request: Any) -> Response:
            return Response([{"name": "shown beside the error"}])

        async def post(self, request: Any) -> Response:
            raise exceptions.ValidationError({"name": ["Too long."]})

    answer = await serve(path("things/", Things.as_view()), AUTH_URLS, **PAGES_OF_DRF).ask_json(
        "POST", "/things/", {"name": "x"}, {"Accept": "text/html"}
    )
    assert answer.status == 400
    assert b"shown beside the error" in answer.body


async def test_r9_a_handler_that_the_page_may_not_call_is_not_called(serve: Serve) -> None:
    class PostOnly(BasePermission):
        async def ahas_permission(self, request: Any, view: Any) -> bool:
            return bool(request.method == "POST")

    class Things(BareView):
        renderer_classes = ADMIN
        permission_classes = (PostOnly,)

        async def get(self, request: Any) -> Response:
            return Response([{"name": "nobody may see this"}])

        async def post(self, request: Any) -> Response:
            raise exceptions.ValidationError({"name": ["Too long."]})

    answer = await serve(path("things/", Things.as_view()), AUTH_URLS, **PAGES_OF_DRF).ask_json(
        "POST", "/things/", {}, {"Accept": "text/html"}
    )
    assert answer.status == 400
    assert b"nobody may see this" not in answer.body


async def test_r9_what_fails_while_a_page_is_rendered_reaches_the_project(serve: Serve, transactional_db: None) -> None:
    class Failing(Plain):
        renderer_classes = BROWSABLE
        queryset = Group.objects.order_by("id")

        def get_view_name(self) -> str:
            raise ZeroDivisionError

    with escaped() as errors:
        answer = await serve(path("groups/", Failing.as_view({"get": "list"})), AUTH_URLS, **PAGES_OF_DRF).ask(
            url="/groups/", headers={"Accept": "text/html"}
        )
    assert (answer.status, [type(error) for error in errors]) == (500, [ZeroDivisionError])


def shouted_name(view: Any) -> str:
    return type(view).__name__.upper()


def shouted_description(view: Any, html: bool = False) -> str:
    return "LOUD as HTML" if html else "LOUD"


@pytest.mark.parametrize("hooked", HOOKED)
async def test_r10_names_and_descriptions_are_made_by_the_projects_functions(serve: Serve, hooked: str) -> None:
    view = make_view(hooked, lambda request, **_: Response(), renderer_classes=BROWSABLE)
    site = serve(
        path("", view),
        AUTH_URLS,
        REST_FRAMEWORK={
            "VIEW_NAME_FUNCTION": shouted_name,
            "VIEW_DESCRIPTION_FUNCTION": shouted_description,
        },
        **PAGES_OF_DRF,
    )
    described = (await site.ask("OPTIONS")).json
    assert (described["name"], described["description"]) == ("EXAMPLE", "LOUD")
    shown = await site.ask(headers={"Accept": "text/html"})
    assert b"<h1>EXAMPLE</h1>" in shown.body
    assert b"LOUD as HTML" in shown.body


@pytest.mark.parametrize("hooked", HOOKED)
async def test_r10_without_them_they_come_from_the_class(serve: Serve, hooked: str) -> None:
    view = make_view(hooked, lambda request, **_: Response(), __doc__="\n    What it *does*.\n    ")
    described = (await serve(view).ask("OPTIONS")).json
    assert (described["name"], described["description"]) == ("Example", "What it *does*.")
