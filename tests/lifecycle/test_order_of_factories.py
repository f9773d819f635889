"""The hooks that make policies and contexts, overridden plain or awaited, find themselves called as in DRF: row L1."""

import pytest
from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.response import Response
from rest_framework.versioning import QueryParameterVersioning
from rest_framework.views import APIView as DRFView

from hansa.server.lifecycle.in_place import in_place
from hansa.server.lifecycle.views import APIView
from lifecycle.project import DRF_CLASS, alike, make_view, place

FACTORIES = (
    "get_authenticators",
    "get_parsers",
    "get_renderers",
    "get_permissions",
    "get_throttles",
    "get_content_negotiator",
    "get_parser_context",
    "get_renderer_context",
    "get_exception_handler",
    "get_exception_handler_context",
    "get_format_suffix",
    "get_view_name",
    "get_view_description",
)


def answers(request):
    if "break" in request.query_params:
        raise NotAcceptable
    return Response({"data": request.data})


def overrides(hook, base, log, kind):
    def plain(self, *args, **kwargs):
        log.append(place())
        return getattr(base, hook)(self, *args, **kwargs)

    async def awaited(self, *args, **kwargs):
        return plain(self, *args, **kwargs)

    if kind == "in place":
        in_place(plain)
    return {hook: awaited if kind == "awaited" else plain}


REQUESTS = [("POST", "/", {}), ("POST", "/?break", {}), ("POST", "/", {"Accept": "a/b"}), ("OPTIONS", "/", {})]


@pytest.mark.parametrize("kind", ["plain", "in place", "awaited"])
@pytest.mark.parametrize("hook", [*FACTORIES, "perform_content_negotiation"])
@pytest.mark.parametrize(("method", "url", "headers"), REQUESTS, ids=["fine", "failing", "not acceptable", "options"])
async def test_l1_every_factory_may_be_overridden(serve, class_way, hook, kind, method, url, headers):
    headers = {"Content-Type": "application/json", **headers}
    expected, log = [], []
    theirs = serve(make_view(DRF_CLASS, answers, ["post"], **overrides(hook, DRFView, expected, "plain")))
    theirs_answered = await theirs.ask_wsgi(method, url, b"{}", headers)
    ours = serve(make_view(class_way, answers, ["post"], **overrides(hook, APIView, log, kind)))

    assert alike(await ours.ask(method, url, b"{}", headers), theirs_answered)
    assert bool(log) is bool(expected)
    if class_way == "awaited class" and kind == "plain":
        assert "loop" not in log


class Counting(DefaultContentNegotiation):
    places: list[str] = []

    def select_renderer(self, request, renderers, format_suffix=None):
        self.places.append(place())
        return super().select_renderer(request, renderers, format_suffix)


class Looking(QueryParameterVersioning):
    places: list[str] = []

    def determine_version(self, request, *args, **kwargs):
        self.places.append(place())
        return super().determine_version(request, *args, **kwargs)


@pytest.mark.parametrize("policy", [Counting, Looking])
@pytest.mark.parametrize("by_keyword", [False, True])
@pytest.mark.parametrize("says_so", [False, True])
async def test_p6_p8_a_negotiation_or_version_scheme_of_ones_own_may_query(serve, policy, by_keyword, says_so):
    """It gets a thread, unless it says that it does not block."""
    own = type("Own", (policy,), {"in_place": says_so, "places": []})
    name = "content_negotiation_class" if policy is Counting else "versioning_class"
    view = make_view("awaited class", answers, ["post"], **({} if by_keyword else {name: own}))
    if by_keyword:
        view = view.cls.as_view(**{name: own})
    await serve(view).ask("POST")

    assert len(own.places) == 1
    assert (own.places == ["loop"]) is says_so
