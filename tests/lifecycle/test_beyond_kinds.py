"""Beyond DRF: plain and awaited code in one class, each where it belongs. Rows B1 to B4 of the lifecycle.

B1: the coroutine mark survives decorators. B2: plain and awaited handlers in one class. B3: a plain override of any
hook is honoured, for one thread hop. B4: all hooks see the request's context variables.
"""

from contextvars import ContextVar
from functools import update_wrapper, wraps
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.utils.decorators import method_decorator
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods
from django.views.decorators.vary import vary_on_headers
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle

from hansa.server.lifecycle import threads
from hansa.server.lifecycle.decorators import api_view
from hansa.server.lifecycle.in_place import in_place
from hansa.server.lifecycle.viewsets import ViewSet, ViewSetMixin
from lifecycle.likeness import BareView, Serve
from lifecycle.project import AWAITED, WAYS, make_view, on_the_loop


def ok(request: Any, **kwargs: Any) -> Response:
    return Response({"on the loop": on_the_loop()})


@pytest.mark.parametrize("way", WAYS)
def test_b1_a_view_is_a_coroutine_function_if_it_is_awaited_whatever_wraps_it(way: str) -> None:
    view = make_view(way, ok)
    decorators = [csrf_exempt, never_cache, cache_control(private=True), vary_on_headers("X-Own")]
    for decorate in (lambda view: view, *decorators, require_http_methods(["GET"])):
        assert iscoroutinefunction(decorate(view)) == (way in AWAITED)


async def test_b1_a_wrapper_that_passes_the_promise_on_needs_the_mark(serve: Serve, awaited_way: str) -> None:
    view = make_view(awaited_way, ok)

    def outer(request: Any) -> Any:
        return view(request)

    marked = markcoroutinefunction(update_wrapper(outer, view))
    assert (await serve(marked).ask()).status == 200


@pytest.mark.parametrize("decorate", [never_cache, cache_control(no_store=True)], ids=["never_cache", "cache_control"])
async def test_b1_decorators_of_views_and_of_handlers_do_what_they_say(serve: Serve, decorate: Any) -> None:
    class Decorated(BareView):
        @method_decorator(decorate)
        async def get(self, request: Any) -> Response:
            return Response()

        @method_decorator(decorate)
        def post(self, request: Any) -> Response:
            return Response()

    site = serve(Decorated.as_view())
    for method in ("GET", "POST"):
        assert "no-store" in (await site.ask(method)).headers["Cache-Control"]
    assert "no-store" in (await serve(decorate(make_view("awaited class", ok))).ask()).headers["Cache-Control"]


async def test_b1_a_decorator_may_be_put_on_dispatch(serve: Serve) -> None:
    class Decorated(BareView):
        async def get(self, request: Any) -> Response:
            return Response()

    view = method_decorator(never_cache, name="dispatch")(Decorated).as_view()
    assert "no-store" in (await serve(view).ask()).headers.get("Cache-Control", "")


async def test_b1_a_decorator_on_dispatch_of_a_mixed_viewset_holds_for_every_route(serve: Serve) -> None:
    @method_decorator(never_cache, name="dispatch")
    class Decorated(ViewSetMixin, BareView):
        async def list(self, request: Any) -> Response:
            return Response()

        def create(self, request: Any) -> Response:
            return Response()

    for method, action in (("GET", "list"), ("POST", "create")):
        site = serve(Decorated.as_view({method.lower(): action}))
        assert "no-store" in (await site.ask(method)).headers["Cache-Control"]


async def test_b1_a_plain_route_of_a_mixed_viewset_stays_plain_also_in_a_subclass(serve: Serve) -> None:
    class Things(ViewSetMixin, BareView):
        async def list(self, request: Any) -> Response:
            return Response()

        def create(self, request: Any) -> Response:
            return Response()

    class More(Things):
        pass

    for kind in (Things, More, Things):
        view = kind.as_view({"post": "create"})
        assert not iscoroutinefunction(view)
        assert (await serve(view).ask("POST")).status == 200
        assert iscoroutinefunction(kind.as_view({"get": "list"}))


async def test_b1_a_decorator_on_dispatch_of_a_plain_class_stays_plain(serve: Serve) -> None:
    class Plain(BareView):
        def get(self, request: Any) -> Response:
            return Response()

    view = method_decorator(never_cache, name="dispatch")(Plain).as_view()
    assert not iscoroutinefunction(view)
    assert "no-store" in (await serve(view).ask()).headers["Cache-Control"]


async def test_b1_the_function_below_api_view_may_be_wrapped(serve: Serve) -> None:
    def counted(function: Any) -> Any:
        @wraps(function)
        async def wrapped(*args: Any, **kwargs: Any) -> Any:
            response = await function(*args, **kwargs)
            response["X-Counted"] = "1"
            return response

        return wrapped

    @api_view(["GET"])
    @counted
    async def view(request: Any) -> Response:
        return Response()

    view.cls.authentication_classes = view.cls.permission_classes = view.cls.throttle_classes = ()
    assert (await serve(view).ask()).headers["X-Counted"] == "1"
    assert view.__name__ == "view"


class Mixed(BareView):
    """One handler of each kind."""

    async def get(self, request: Any) -> Response:
        return ok(request)

    def post(self, request: Any) -> Response:
        return ok(request)

    @in_place
    def put(self, request: Any) -> Response:
        return ok(request)


@pytest.mark.parametrize(
    ("method", "where"), [("GET", True), ("HEAD", True), ("POST", False), ("PUT", True), ("OPTIONS", None)]
)
async def test_b2_each_handler_runs_where_it_belongs(serve: Serve, method: str, where: bool | None) -> None:
    answer = await serve(Mixed.as_view()).ask(method)
    assert answer.status == 200
    if answer.body and where is not None:
        assert answer.json == {"on the loop": where}


@pytest.mark.parametrize(("method", "where"), [("GET", False), ("POST", True)])
async def test_b2_a_route_may_mix_plain_and_awaited_actions(serve: Serve, method: str, where: bool) -> None:
    class Things(ViewSet):
        renderer_classes, parser_classes = BareView.renderer_classes, BareView.parser_classes
        authentication_classes = permission_classes = throttle_classes = ()

        def list(self, request: Any) -> Response:
            return ok(request)

        async def create(self, request: Any) -> Response:
            return ok(request)

        async def helper(self) -> None:
            """No action: it makes no route awaited."""

    assert (await serve(Things.as_view({"get": "list", "post": "create"})).ask(method)).json == {"on the loop": where}
    assert not iscoroutinefunction(Things.as_view({"get": "list"}))


async def test_b2_a_plain_handler_of_an_awaited_class_reads_a_body_as_ever(serve: Serve) -> None:
    class Echo(Mixed):
        def post(self, request: Any) -> Response:
            return Response(request.data)

    answer = await serve(Echo.as_view()).ask_json("POST", "/", {"n": list(range(50_000))})
    assert len(answer.json["n"]) == 50_000


class Unknown(BaseAuthentication):
    in_place = True

    def authenticate(self, request: Any) -> Any:
        return None

    def authenticate_header(self, request: Any) -> str:
        return "Bearer"


class No(BasePermission):
    in_place = True

    def has_permission(self, request: Any, view: Any) -> bool:
        return False


class Exhausted(BaseThrottle):
    in_place = True

    def allow_request(self, request: Any, view: Any) -> bool:
        return False


class Failing(Mixed):
    async def get(self, request: Any) -> Response:
        raise exceptions.ParseError


ALWAYS = (
    "initialize_request",
    "initial",
    "perform_content_negotiation",
    "determine_version",
    "perform_authentication",
    "check_permissions",
    "check_throttles",
    "get_format_suffix",
    "get_permissions",
    "get_throttles",
    "finalize_response",
)
ASKED_TWICE = ("perform_content_negotiation",)
"""`finalize_response` may have to ask it again, and so goes to a thread as well."""
SOMETIMES = {
    "permission_denied": {"permission_classes": (No,)},
    "throttled": {"throttle_classes": (Exhausted,)},
    "get_authenticate_header": {"permission_classes": (No,), "authentication_classes": (Unknown,)},
    "get_exception_handler": {},
    "get_exception_handler_context": {},
    "handle_exception": {},
}


async def _hops(serve: Serve, view: Any) -> tuple[int, int]:
    """The status, and how often the request went to its thread."""
    seen: list[int] = []

    def middleware(get_response: Any) -> Any:
        async def counting(request: Any) -> Any:
            response = await get_response(request)
            seen.append(threads.hops())
            return response

        return markcoroutinefunction(counting)

    middleware.async_capable, middleware.sync_capable = True, False  # type: ignore[attr-defined]  # as Django asks
    answer = await serve(view, MIDDLEWARE=[middleware]).ask()
    return answer.status, seen[0]


@pytest.mark.parametrize("hook", [*ALWAYS, *SOMETIMES])
async def test_b3_a_plain_override_of_a_hook_costs_one_thread_hop(serve: Serve, hook: str) -> None:
    base = Mixed if hook in ALWAYS else Failing
    policies = SOMETIMES.get(hook, {})
    called: list[bool] = []

    def plain(self: Any, *args: Any, **kwargs: Any) -> Any:
        called.append(on_the_loop())
        return getattr(super(overriding, self), hook)(*args, **kwargs)

    overriding = type("Overriding", (base,), {hook: plain, **policies})
    status, without = await _hops(serve, type("Same", (base,), policies).as_view())
    same_status, hops = await _hops(serve, overriding.as_view())
    assert (same_status, called) == (status, [False])
    assert 1 <= hops - without <= (2 if hook in ASKED_TWICE else 1)


@pytest.mark.parametrize("hook", [*ALWAYS, *SOMETIMES])
async def test_b3_one_that_says_it_does_not_block_costs_none(serve: Serve, hook: str) -> None:
    base = Mixed if hook in ALWAYS else Failing
    policies = SOMETIMES.get(hook, {})
    called: list[bool] = []

    @in_place
    def plain(self: Any, *args: Any, **kwargs: Any) -> Any:
        called.append(on_the_loop())
        return getattr(super(overriding, self), hook)(*args, **kwargs)

    overriding = type("Overriding", (base,), {hook: plain, **policies})
    without = await _hops(serve, type("Same", (base,), policies).as_view())
    assert await _hops(serve, overriding.as_view()) == without
    assert called == [True]


SEEN: ContextVar[tuple[str, ...]] = ContextVar("seen", default=())


def note(name: str) -> None:
    SEEN.set((*SEEN.get(), name))


class PlainAuthentication(BaseAuthentication):
    def authenticate(self, request: Any) -> Any:
        note("plain authenticator")


class AwaitedPermission(BasePermission):
    async def ahas_permission(self, request: Any, view: Any) -> bool:
        note("awaited permission")
        return True


class PlainThrottle(BaseThrottle):
    def allow_request(self, request: Any, view: Any) -> bool:
        note("plain throttle")
        return True


@pytest.mark.parametrize("method", ["get", "post"])
async def test_b4_each_hook_sees_what_those_before_it_have_set(serve: Serve, method: str) -> None:
    class Noting(BareView):
        authentication_classes = (PlainAuthentication,)
        permission_classes = (AwaitedPermission,)
        throttle_classes = (PlainThrottle,)

        def determine_version(self, request: Any, *args: Any, **kwargs: Any) -> Any:
            note("plain hook")
            return None, None

        async def get(self, request: Any) -> Response:
            note("awaited handler")
            return Response(SEEN.get())

        def post(self, request: Any) -> Response:
            note("plain handler")
            return Response(SEEN.get())

    def middleware(get_response: Any) -> Any:
        async def noting(request: Any) -> Any:
            note("middleware")
            return await get_response(request)

        return markcoroutinefunction(noting)

    middleware.async_capable, middleware.sync_capable = True, False  # type: ignore[attr-defined]  # as Django asks
    site = serve(Noting.as_view(), MIDDLEWARE=[middleware])
    for _ in range(2):  # and nothing of one request is seen by the next
        SEEN.set(())
        handler = "awaited handler" if method == "get" else "plain handler"
        assert (await site.ask(method.upper())).json == [
            "middleware",
            "plain hook",
            "plain authenticator",
            "awaited permission",
            "plain throttle",
            handler,
        ]


async def test_b1_a_plain_subclass_of_an_awaited_class_is_plain(serve: Serve) -> None:
    class Awaited(BareView):
        async def get(self, request: Any) -> Response:
            return Response("awaited")

    class Plain(Awaited):
        def get(self, request: Any) -> Response:  # type: ignore[override]  # a plain one
            return Response("plain")

    assert not iscoroutinefunction(Plain.as_view())
    assert (await serve(Plain.as_view()).ask()).json == "plain"
    assert (await serve(Awaited.as_view()).ask()).json == "awaited"
