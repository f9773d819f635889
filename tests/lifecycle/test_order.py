"""The steps of a request and their order: rows L1 and L2."""

import itertools

import pytest
from django.urls import path
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, ParseError
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.versioning import QueryParameterVersioning
from rest_framework.views import APIView as DRFView
from rest_framework.viewsets import ViewSet as DRFViewSet

from hansa.server.lifecycle.views import APIView
from hansa.server.lifecycle.viewsets import ViewSet
from lifecycle.project import BARE, CLASSES, DRF_OF, VIEWSETS, alike, make_view, place

STEPS = (
    "initialize_request",
    "initial",
    "get_format_suffix",
    "perform_content_negotiation",
    "determine_version",
    "perform_authentication",
    "check_permissions",
    "get_permissions",
    "check_throttles",
    "get_throttles",
    "handle_exception",
    "get_authenticate_header",
    "get_exception_handler",
    "get_exception_handler_context",
    "finalize_response",
)
"""The hooks of a request; those below `initial` are called by it."""
ATTRIBUTES = ("action", "args", "kwargs", "request", "headers", "response", "format_kwarg")


def noted(log, base, awaited=()):
    """Overrides of every step that note its name, what the view has by then, and go on as `base` does."""

    def plain(name):
        def step(self, *args, **kwargs):
            log.append((name, _has(self)))
            return getattr(base, name)(self, *args, **kwargs)

        return step

    def asynchronous(name):
        async def step(self, *args, **kwargs):
            log.append((name, _has(self)))
            result = getattr(base, name)(self, *args, **kwargs)
            return await result if hasattr(result, "__await__") else result

        return step

    return {name: asynchronous(name) if name in awaited else plain(name) for name in STEPS}


def _has(view):
    # Django's `setup` has set a request before; it is DRF's that matters.
    found = {name for name in ATTRIBUTES if name in vars(view)}
    return found if isinstance(view.request, Request) else found - {"request"}


def succeeds(request):
    return Response({"ok": True})


def fails(request):
    raise AuthenticationFailed


@pytest.mark.parametrize("awaited", [(), STEPS, STEPS[::2], STEPS[1::2]], ids=["plain", "awaited", "even", "odd"])
@pytest.mark.parametrize("body", [succeeds, fails])
@pytest.mark.parametrize("way", [*CLASSES, *VIEWSETS])
async def test_l1_l2_the_steps_come_in_drfs_order_and_find_what_drfs_find(serve, way, body, awaited):
    expected, log = [], []
    theirs = make_view(DRF_OF[way], body, **noted(expected, DRFViewSet if way in VIEWSETS else DRFView))
    ours = make_view(way, body, **noted(log, ViewSet if way in VIEWSETS else APIView, awaited))
    site = serve(path("drf/", theirs), path("ours/", ours))

    answers = [await site.ask_wsgi("GET", "/drf/"), await site.ask("GET", "/ours/")]

    assert alike(*answers)
    assert [name for name, _ in log] == [name for name, _ in expected]
    assert log == expected


@pytest.mark.parametrize("awaited", [False, True])
async def test_l1_plain_overrides_get_a_thread_and_awaited_ones_the_loop(serve, awaited):
    log = []

    if awaited:

        async def finalize_response(self, *args, **kwargs):
            log.append(place())
            return APIView.finalize_response(self, *args, **kwargs)
    else:

        def finalize_response(self, *args, **kwargs):
            log.append(place())
            return APIView.finalize_response(self, *args, **kwargs)

    await serve(make_view("awaited class", succeeds, finalize_response=finalize_response)).ask()

    assert (log[0] == "loop") is awaited


async def test_l1_an_awaited_override_goes_on_by_awaiting_super(serve):
    class Careful(APIView):
        locals().update(BARE)

        async def initial(self, request, *args, **kwargs):
            await super().initial(request, *args, **kwargs)

        async def perform_authentication(self, request):
            await super().perform_authentication(request)

        async def check_permissions(self, request):
            await super().check_permissions(request)

        async def check_object_permissions(self, request, obj):
            await super().check_object_permissions(request, obj)

        async def check_throttles(self, request):
            await super().check_throttles(request)

        async def handle_exception(self, exc):
            return await super().handle_exception(exc)

        async def options(self, request):
            return await super().options(request)

        async def get(self, request):
            await self.check_object_permissions(request, "obj")
            raise ParseError("reached")

    site = serve(Careful.as_view())

    assert (await site.ask()).json == {"detail": "reached"}
    assert (await site.ask("OPTIONS")).json["name"] == "Careful"


class Refusing(BasePermission):
    def has_permission(self, request, view):
        return False


class AwaitedRefusing(BasePermission):
    async def ahas_permission(self, request, view):
        return False


class Wrong(BaseAuthentication):
    def authenticate_header(self, request):
        return "Wrong"

    def authenticate(self, request):
        raise AuthenticationFailed


class AwaitedWrong(Wrong):
    async def aauthenticate(self, request):
        raise AuthenticationFailed


class Full(BaseThrottle):
    def allow_request(self, request, view):
        return False


class AwaitedFull(BaseThrottle):
    async def aallow_request(self, request, view):
        return False


class Versioned(QueryParameterVersioning):
    allowed_versions = ("1",)


REFUSALS = {
    406: ("/", "text/html", {}),
    404: ("/?version=9", "*/*", {"versioning_class": Versioned}),
    401: ("/", "*/*", {"authentication_classes": [Wrong]}),
    403: ("/", "*/*", {"permission_classes": [Refusing]}),
    429: ("/", "*/*", {"throttle_classes": [Full]}),
}
"""In the order in which they come: each needs another policy, URL or header."""
AWAITED_POLICIES = {Wrong: AwaitedWrong, Refusing: AwaitedRefusing, Full: AwaitedFull}


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize(("first", "second"), [*itertools.combinations(REFUSALS, 2)])
async def test_l2_of_two_refusals_the_earlier_step_gives_the_answer(serve, way, first, second, awaited):
    url = max(REFUSALS[first][0], REFUSALS[second][0], key=len)
    headers = {"Accept": max(REFUSALS[first][1], REFUSALS[second][1], key=len)}
    policies = {**REFUSALS[first][2], **REFUSALS[second][2]}
    theirs = await serve(make_view(DRF_OF[way], succeeds, **policies)).ask_wsgi("GET", url, b"", headers)
    if awaited:
        policies = {
            name: [AWAITED_POLICIES[each] for each in classes] if isinstance(classes, list) else classes
            for name, classes in policies.items()
        }
    ours = await serve(make_view(way, succeeds, **policies)).ask("GET", url, b"", headers)

    assert ours.status == first
    assert alike(ours, theirs)
