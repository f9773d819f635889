"""The handler that is chosen, OPTIONS, and the check of objects: rows L5 to L8."""

import pytest
from django.urls import path
from rest_framework import serializers
from rest_framework.exceptions import ParseError
from rest_framework.generics import GenericAPIView as DRFGenericView
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer
from rest_framework.response import Response
from rest_framework.views import APIView as DRFView

from hansa.server.accounts.models import User
from hansa.server.lifecycle.generics import GenericAPIView
from hansa.server.lifecycle.promises import UnawaitedError
from hansa.server.lifecycle.views import APIView
from lifecycle.project import BARE, DRF_OF, alike, make_class, make_view, place


def succeeds(request):
    return Response({"ok": True})


# L5, L6.


async def test_l5_each_method_finds_its_handler_plain_or_awaited(serve):
    class Both(APIView):
        locals().update(BARE)

        def get(self, request):
            return Response(["get", place() == "loop"])

        async def post(self, request):
            return Response(["post", place() == "loop"])

        def put(self, request):
            return self._later()

        async def _later(self):
            return Response(["put", place() == "loop"])

    site = serve(Both.as_view())

    assert (await site.ask("GET")).json == ["get", False]
    assert (await site.ask("POST")).json == ["post", True]
    assert (await site.ask("PUT")).json == ["put", True]


@pytest.mark.parametrize("method", ["DELETE", "BREW", "INITIAL", "DISPATCH", "TRACE"])
async def test_l5_l6_what_is_no_method_or_has_no_handler_is_405_with_what_is_allowed(serve, way, method):
    theirs = await serve(make_view(DRF_OF[way], succeeds, ["get", "patch"])).ask_wsgi(method)
    ours = await serve(make_view(way, succeeds, ["get", "patch"])).ask(method)

    assert alike(ours, theirs)
    assert ours.status == 405
    assert {"GET", "PATCH", "OPTIONS"} <= set(ours.headers["Allow"].split(", "))
    assert ours.json == {"detail": f'Method "{method}" not allowed.'}


async def test_l5_a_class_may_leave_methods_out(serve, class_way):
    view = make_view(class_way, succeeds, ["get", "delete"], http_method_names=["get", "options"])
    site = serve(view)

    assert (await site.ask("DELETE")).status == 405
    assert (await site.ask("GET")).headers["Allow"] == "GET, OPTIONS"


@pytest.mark.parametrize("awaited", [False, True])
async def test_l6_what_happens_without_a_handler_can_be_said(serve, class_way, awaited):
    def http_method_not_allowed(self, request, *args, **kwargs):
        return Response({"never": request.method}, status=418)

    async def awaited_one(self, request, *args, **kwargs):
        return http_method_not_allowed(self, request)

    hook = awaited_one if awaited else http_method_not_allowed
    site = serve(make_view(class_way, succeeds, http_method_not_allowed=hook))
    answered = await site.ask("DELETE")

    assert (answered.status, answered.json) == (418, {"never": "DELETE"})


# L7.


class Name(serializers.Serializer):
    name = serializers.CharField(max_length=8, help_text="As in the passport.")


class WritersOnly(BasePermission):
    def has_permission(self, request, view):
        return request.method in ("OPTIONS", "POST") or (request.method == "PUT" and "put" in request.query_params)


class AwaitedWritersOnly(WritersOnly):
    async def ahas_permission(self, request, view):
        return super().has_permission(request, view)


@pytest.mark.parametrize("permission", [WritersOnly, AwaitedWritersOnly])
@pytest.mark.parametrize("url", ["/", "/?put"])
@pytest.mark.parametrize("awaited", [False, True])
async def test_l7_options_tells_name_media_types_and_the_actions_that_are_permitted(serve, awaited, url, permission):
    def members(permission, handler):
        return {
            **BARE,
            "__doc__": "All the *names*.",
            "renderer_classes": (JSONRenderer, BrowsableAPIRenderer),
            "permission_classes": [permission],
            "serializer_class": Name,
            "get_object": lambda self: {"name": "x"},
            "post": handler,
            "put": handler,
        }

    def plain(self, request):
        return Response()

    async def asynchronous(self, request):
        return Response()

    theirs = type("NameList", (DRFGenericView,), members(WritersOnly, plain))
    ours = type("NameList", (GenericAPIView,), members(permission, asynchronous if awaited else plain))
    site = serve(path("drf/", theirs.as_view()), path("ours/", ours.as_view()))
    described = await site.ask("OPTIONS", f"/ours{url}")

    assert described.status == 200
    assert described.json == (await site.ask_wsgi("OPTIONS", f"/drf{url}")).json
    assert (described.json["name"], described.json["description"]) == ("Name List", "All the *names*.")
    assert set(described.json["actions"]) == ({"POST", "PUT"} if "put" in url else {"POST"})


# L8.


class OwnOnly(BasePermission):
    message, code = "Not yours.", "foreign"

    def has_object_permission(self, request, view, obj):
        return obj.username == request.query_params["for"]


class AwaitedOwnOnly(OwnOnly):
    async def ahas_object_permission(self, request, view, obj):
        assert place() == "loop"
        return super().has_object_permission(request, view, obj)


class Found(GenericAPIView):
    locals().update(BARE)
    queryset = User.objects.all()
    lookup_field = "username"

    def get(self, request, username):
        return Response(self.get_object().username)


class AwaitedFound(Found):
    async def get(self, request, username):
        return Response((await self.aget_object()).username)


@pytest.fixture
def bob(transactional_db):
    return User.objects.create(username="bob")


@pytest.mark.parametrize("permission", [OwnOnly, AwaitedOwnOnly])
@pytest.mark.parametrize("view", [Found, AwaitedFound])
async def test_l8_the_object_is_checked_when_it_is_got(serve, bob, view, permission):
    site = serve(path("<username>/", view.as_view(permission_classes=[permission])))

    assert (await site.ask("GET", "/bob/?for=bob")).json == "bob"
    refused = await site.ask("GET", "/bob/?for=carol")
    assert (refused.status, refused.json) == (403, {"detail": "Not yours."})
    assert (await site.ask("GET", "/dave/?for=dave")).status == 404


@pytest.mark.parametrize("awaited", [False, True])
async def test_l8_message_and_code_reach_the_hook_that_denies(serve, class_way, awaited):
    heard = []

    def permission_denied(self, request, message=None, code=None):
        heard.append((message, code))
        raise ParseError("denied")

    async def awaited_one(self, request, message=None, code=None):
        permission_denied(self, request, message, code)

    hook = awaited_one if awaited else permission_denied
    policies = {"permission_classes": [OwnOnly], "permission_denied": hook}

    def checks(self, request):
        self.check_object_permissions(request, User(username="bob"))

    async def awaits(self, request):
        await self.check_object_permissions(request, User(username="bob"))

    handler = awaits if class_way == "awaited class" else checks
    answered = await serve(make_view(class_way, succeeds, **policies, get=handler)).ask(url="/?for=carol")

    assert answered.json == {"detail": "denied"}
    assert heard == [("Not yours.", "foreign")]


@pytest.mark.parametrize("name", ["check_object_permissions", "acheck_object_permissions"])
async def test_l8_a_check_that_nobody_awaits_is_no_answer_but_an_error(serve, name):
    errors = []

    def checks_nothing(request):
        getattr(request.parser_context["view"], name)(request, User(username="bob"))
        return Response("as if it were permitted")

    cls = make_class("awaited class", checks_nothing, permission_classes=[OwnOnly])
    cls.raise_uncaught_exception = lambda self, exc: errors.append(exc) or DRFView.raise_uncaught_exception(self, exc)

    assert (await serve(cls.as_view()).ask(url="/?for=carol")).status == 500
    assert [type(error) for error in errors] == [UnawaitedError]
    assert str(errors[0]) == f"self.{name}() was called on the event loop without `await`; nothing was checked."
