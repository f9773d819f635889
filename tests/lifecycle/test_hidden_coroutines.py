"""A check that is `async def` where nobody expects it is awaited all the same: a coroutine must never pass as a yes."""

from functools import wraps

import pytest
from asgiref.sync import SyncToAsync
from django.contrib.auth.models import AnonymousUser
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import PermissionDenied
from rest_framework.metadata import SimpleMetadata
from rest_framework.permissions import AllowAny, BasePermission
from rest_framework.renderers import BaseRenderer
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle

from lifecycle.project import WAYS, make_class, make_view


def unmarked(function):
    """What decorators often are: a plain function that returns what the coroutine function returns."""

    @wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


def answers(request):
    return Response({"by": str(request.auth)})


class No(BasePermission):
    async def has_permission(self, request, view):
        return False


class NoInDisguise(BasePermission):
    has_permission = unmarked(No.has_permission)


class NoInPlace(No):
    in_place = True


class Exhausted(BaseThrottle):
    async def allow_request(self, request, view):
        return False

    def wait(self):
        return None


class ExhaustedInDisguise(Exhausted):
    allow_request = unmarked(Exhausted.allow_request)


class Knows(BaseAuthentication):
    async def authenticate(self, request):
        return AnonymousUser(), "async def"


class KnowsInDisguise(BaseAuthentication):
    authenticate = unmarked(Knows.authenticate)


@pytest.mark.parametrize(
    "permission",
    [No, NoInDisguise, NoInPlace, AllowAny & No, No | No, ~~No],
    ids=lambda each: getattr(each, "__name__", ""),
)
async def test_p4_a_permission_that_is_async_def_under_its_plain_name_is_awaited(serve, way, permission):
    assert (await serve(make_view(way, answers, permission_classes=[permission])).ask()).status == 403


@pytest.mark.parametrize("throttle", [Exhausted, ExhaustedInDisguise])
async def test_p5_a_throttle_that_is_async_def_under_its_plain_name_is_awaited(serve, way, throttle):
    assert (await serve(make_view(way, answers, throttle_classes=[throttle])).ask()).status == 429


@pytest.mark.parametrize("authenticator", [Knows, KnowsInDisguise])
async def test_p3_an_authenticator_that_is_async_def_under_its_plain_name_is_awaited(serve, way, authenticator):
    site = serve(make_view(way, answers, authentication_classes=[authenticator]))
    assert (await site.ask()).json == {"by": "async def"}


class Said(BaseRenderer):
    media_type = "text/plain"
    format = "txt"

    async def render(self, data, accepted_media_type=None, renderer_context=None):
        return b"said"


async def test_p1_a_renderer_that_is_async_def_under_its_plain_name_is_awaited(serve, way):
    assert (await serve(make_view(way, answers, renderer_classes=[Said])).ask()).body == b"said"


async def refuse(self, request, *args, **kwargs):
    raise PermissionDenied


CHECKS = ("initial", "perform_authentication", "check_permissions", "check_throttles")


@pytest.mark.parametrize("hook", CHECKS)
async def test_an_awaited_check_behind_a_plain_decorator_is_awaited_in_an_awaited_view(serve, hook):
    view = make_view("awaited class", answers, **{hook: unmarked(refuse)})
    assert (await serve(view).ask()).status == 403


@pytest.mark.parametrize("hook", CHECKS)
async def test_an_awaited_check_happens_also_in_a_class_that_says_it_is_plain(serve, hook):
    view = make_class("plain class", answers, **{hook: refuse}, view_is_async=False).as_view()
    assert (await serve(view).ask()).status == 403


@pytest.mark.parametrize("hook", CHECKS)
@pytest.mark.parametrize("awaited", [False, True])
async def test_a_check_that_is_set_on_one_view_only_happens_in_it(serve, class_way, hook, awaited):
    """By a keyword of `as_view`, as DRF lets one do."""

    async def refuse_awaited(request, *args, **kwargs):
        raise PermissionDenied

    def refuse_plainly(request, *args, **kwargs):
        raise PermissionDenied

    refusal = refuse_awaited if awaited and class_way != "plain class" else refuse_plainly
    view = make_view(class_way, answers).cls.as_view(**{hook: refusal})
    assert (await serve(view).ask()).status == 403


class Describing(SimpleMetadata):
    async def determine_metadata(self, request, view):
        return {"name": "awaited"}


@pytest.mark.parametrize("way", WAYS)
async def test_metadata_may_be_awaited_under_the_plain_name_too(serve, way):
    site = serve(make_view(way, answers, metadata_class=Describing))

    assert (await site.ask("OPTIONS")).json == {"name": "awaited"}


async def test_a_hook_that_a_test_replaces_after_as_view_is_the_one_that_is_called(serve, monkeypatch):
    kind = make_class("awaited class", answers)
    site = serve(kind.as_view())
    assert (await site.ask()).status == 200

    monkeypatch.setattr(kind, "check_permissions", refuse)

    assert (await site.ask()).status == 403


async def test_plain_code_that_asgiref_has_made_awaitable_is_awaited(serve, monkeypatch):
    kind = make_class("awaited class", answers)
    monkeypatch.setattr(kind, "check_permissions", SyncToAsync(refuse_now))

    assert (await serve(kind.as_view()).ask()).status == 403


def refuse_now(view, request):
    raise PermissionDenied
