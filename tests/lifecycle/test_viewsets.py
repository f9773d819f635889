"""ViewSets with awaited actions: found, named, routed, reversed and described as DRF's are. Rows X1 to X6."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.urls import URLPattern, include, path
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from rest_framework import routers
from rest_framework.permissions import AllowAny, BasePermission
from rest_framework.response import Response
from rest_framework.versioning import NamespaceVersioning, URLPathVersioning

from hansa.server.lifecycle.decorators import action
from hansa.server.lifecycle.viewsets import ViewSet
from lifecycle.likeness import BareView, Serve
from lifecycle.project import alike
from lifecycle.twins import KINDS, groups, routed


class BareViewSet(ViewSet):
    renderer_classes, parser_classes = BareView.renderer_classes, BareView.parser_classes
    authentication_classes = permission_classes = throttle_classes = ()


@pytest.mark.parametrize("kind", KINDS)
def test_x1_extra_actions_are_found_also_if_they_are_awaited(kind: str) -> None:
    found = groups(kind).get_extra_actions()
    assert [(each.__name__, each.url_path, each.url_name, each.detail) for each in found] == [
        ("newest", "newest", "newest", False),
        ("rename", "rename-to", "rename", True),
    ]
    assert [each.kwargs["name"] for each in found] == ["Newest", "Rename"]
    assert [each.kwargs["description"] for each in found] == ["The last one.", "Give it another name."]


def test_x1_an_action_under_another_name_than_its_own_is_refused() -> None:
    class Renamed(BareViewSet):
        @action(detail=False)
        async def original(self, request: Any) -> Response:
            return Response()

        other = original

    with pytest.raises(AssertionError, match=r"Expected function \(`original`\) to match its attribute name \(`other`"):
        Renamed.get_extra_actions()


def test_x2_an_action_says_whether_it_is_of_one_or_of_all() -> None:
    with pytest.raises(AssertionError, match=r"@action\(\) missing required argument: 'detail'"):
        action()


def test_x2_name_and_suffix_exclude_each_other() -> None:
    async def both(self: Any, request: Any) -> Response:
        return Response()

    with pytest.raises(TypeError, match="`name` and `suffix` are mutually exclusive arguments"):
        action(detail=True, name="Name", suffix="Suffix")(both)


def test_x2_a_method_is_mapped_once_and_by_another_function() -> None:
    @action(detail=True, methods=["post"])
    async def thing(self: Any, request: Any) -> Response:
        return Response()

    async def another(self: Any, request: Any) -> Response:
        return Response()

    with pytest.raises(AssertionError, match=r"Method 'post' has already been mapped to '\.thing'"):
        thing.mapping.post(another)
    with pytest.raises(AssertionError, match="Method mapping does not behave like the property decorator"):
        thing.mapping.delete(thing)


class No(BasePermission):
    async def ahas_permission(self, request: Any, view: Any) -> bool:
        return False


class Extras(BareViewSet):
    """Actions plain and awaited, with policies and names of their own."""

    @action(detail=False, methods=["get", "post"], url_path="both-kinds", permission_classes=[AllowAny])
    async def both(self, request: Any) -> Response:
        return Response([self.action, request.method])

    @both.mapping.delete
    def both_deleted(self, request: Any) -> Response:
        return Response([self.action, request.method])

    @action(detail=False, permission_classes=[No], name="Forbidden one")
    async def forbidden(self, request: Any) -> Response:
        return Response("never")

    @action(detail=False, name="With a number", url_path=r"numbered/(?P<number>\d+)")
    async def numbered(self, request: Any, number: str) -> Response:
        return Response(number)

    @action(detail=False)
    async def urls(self, request: Any) -> Response:
        """All of them."""
        return Response(self.get_extra_action_url_map())

    def list(self, request: Any) -> Response:
        return Response(self.get_extra_action_url_map())


def extras(router: Any = None) -> Any:
    router = router or routers.SimpleRouter()
    router.register("extras", Extras, basename="extra")
    return router.urls


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_x2_one_path_may_have_several_methods_plain_and_awaited(serve: Serve, method: str) -> None:
    answer = await serve(*extras()).ask(method, "/extras/both-kinds/")
    assert answer.json == ["both_deleted" if method == "DELETE" else "both", method]


async def test_x2_an_action_has_policies_of_its_own(serve: Serve) -> None:
    site = serve(*extras())
    assert (await site.ask(url="/extras/forbidden/")).status == 403
    assert (await site.ask(url="/extras/")).status == 200
    assert (await site.ask("PUT", "/extras/both-kinds/")).status == 405


LINKS = {
    "Both": "http://testserver/extras/both-kinds/",
    "Forbidden one": "http://testserver/extras/forbidden/",
    "Urls": "http://testserver/extras/urls/",
}
"""`numbered` wants an argument that nobody here can give."""


@pytest.mark.parametrize("url", ["/extras/", "/extras/urls/"], ids=["plain", "awaited"])
async def test_x3_extra_actions_are_linked_by_their_names(serve: Serve, url: str) -> None:
    assert (await serve(*extras()).ask(url=url)).json == LINKS


async def test_x3_links_stay_in_their_namespace(serve: Serve) -> None:
    site = serve(
        path("one/", include((extras(), "extras"), namespace="one")),
        path("two/", include((extras(), "extras"), namespace="two")),
    )
    assert (await site.ask(url="/two/extras/urls/")).json["Urls"] == "http://testserver/two/extras/urls/"


async def test_x3_without_detail_nothing_is_linked(serve: Serve) -> None:
    assert (await serve(Extras.as_view({"get": "urls"})).ask()).json == {}


def reversing(**attributes: Any) -> Any:
    async def awaited(self: Any, request: Any, **kwargs: Any) -> Response:
        return Response([self.reverse_action("list"), self.reverse_action("detail", kwargs={"pk": 7})])

    def plain(self: Any, request: Any, **kwargs: Any) -> Response:
        return Response([self.reverse_action("list"), self.reverse_action("detail", kwargs={"pk": 7})])

    kind = type("Reversing", (BareViewSet,), {"list": awaited, "retrieve": plain, **attributes})
    router = routers.SimpleRouter()
    router.register("things", kind, basename="thing")
    return router.urls


@pytest.mark.parametrize("below", ["/things/", "/things/1/"], ids=["awaited", "plain"])
async def test_x4_actions_are_reversed_within_their_namespace_and_version(serve: Serve, below: str) -> None:
    plain = serve(*reversing())
    assert (await plain.ask(url=below)).json == ["http://testserver/things/", "http://testserver/things/7/"]

    in_path = serve(path("<version>/", include(reversing(versioning_class=URLPathVersioning))))
    assert (await in_path.ask(url="/v2" + below)).json == [
        "http://testserver/v2/things/",
        "http://testserver/v2/things/7/",
    ]

    patterns = reversing(versioning_class=NamespaceVersioning)
    by_namespace = serve(
        path("first/", include((patterns, "things"), namespace="v1")),
        path("second/", include((patterns, "things"), namespace="v2")),
    )
    assert (await by_namespace.ask(url="/second" + below)).json == [
        "http://testserver/second/things/",
        "http://testserver/second/things/7/",
    ]


def routes(patterns: list[Any]) -> Iterator[tuple[Any, ...]]:
    """All that tools read from URL patterns."""
    for each in patterns:
        if isinstance(each, URLPattern):
            view: Any = each.callback
            initkwargs = {
                name: value for name, value in getattr(view, "initkwargs", {}).items() if name != "api_root_dict"
            }
            yield str(each.pattern), each.name, getattr(view, "actions", None), initkwargs


ROUTERS = {
    "simple": routers.SimpleRouter,
    "default": routers.DefaultRouter,
    "no slash": lambda: routers.DefaultRouter(trailing_slash=False),
    "paths": lambda: routers.SimpleRouter(use_regex_path=False),
}


@pytest.mark.parametrize("router", ROUTERS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "attributes", [{}, {"lookup_field": "name", "lookup_value_regex": "[a-z]+"}], ids=["pk", "name"]
)
def test_x5_routers_make_of_it_what_they_make_of_drfs(router: str, kind: str, attributes: dict[str, str]) -> None:
    if router == "paths" and attributes:
        attributes = {"lookup_field": "name", "lookup_value_converter": "slug"}
    ours = list(routes(routed(kind, ROUTERS[router](), **attributes)))
    theirs = list(routes(routed("drf", ROUTERS[router](), **attributes)))
    assert ours == theirs
    assert {"get": "list", "post": "create"} in [actions for _, _, actions, _ in ours]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("method", "url", "name"),
    [
        ("GET", "/groups/", "list"),
        ("HEAD", "/groups/", "list"),
        ("POST", "/groups/", "create"),
        ("GET", "/groups/1/", "retrieve"),
        ("PUT", "/groups/1/", "update"),
        ("PATCH", "/groups/1/", "partial_update"),
        ("DELETE", "/groups/1/", "destroy"),
        ("OPTIONS", "/groups/", "metadata"),
        ("TRACE", "/groups/", None),
        ("GET", "/groups/newest/", "newest"),
        ("GET", "/groups.json", "list"),
        ("POST", "/groups/1/rename-to/", "rename"),
        ("DELETE", "/groups/1/rename-to/", "unname"),
    ],
)
async def test_x5_actions_keep_the_names_of_drf(
    serve: Serve, kind: str, method: str, url: str, name: str | None
) -> None:
    seen: list[str | None] = []

    class Seeing(BasePermission):
        def has_permission(self, request: Any, view: Any) -> bool:
            seen.append(view.action)
            return False

    site = serve(*routed(kind, permission_classes=(Seeing,)))
    assert (await site.ask(method, url)).status == 403
    assert seen == [name]


async def test_x5_the_root_of_a_router_lists_what_is_registered(serve: Serve) -> None:
    class Root(routers.APIRootView):
        renderer_classes, authentication_classes = BareView.renderer_classes, ()
        permission_classes = throttle_classes = ()

    answers = []
    for kind in ("drf", "awaited"):
        router = routers.DefaultRouter()
        router.APIRootView = Root
        site = serve(*routed(kind, router))
        answers.append(await (site.ask_wsgi() if kind == "drf" else site.ask()))
    assert alike(*answers)
    assert answers[1].json == {"groups": "http://testserver/groups/"}


@pytest.mark.parametrize("kind", KINDS)
def test_x5_the_openapi_document_is_the_same(kind: str) -> None:
    ours, theirs = (
        SchemaGenerator(patterns=routed(each, schema=AutoSchema())).get_schema(public=True) for each in (kind, "drf")
    )
    assert json.dumps(ours, default=str) == json.dumps(theirs, default=str)
    assert "rename_to_create" in str(ours)


@pytest.mark.parametrize("kind", KINDS)
def test_x6_names_come_from_the_class_the_suffix_or_the_action(kind: str) -> None:
    cls = groups(kind)
    assert cls(suffix="List").get_view_name() == "Group List"
    assert cls(name="People").get_view_name() == "People"
    assert cls(name="People", suffix="List").get_view_name() == "People"
    assert cls().get_view_name() == "Group"
    assert cls(**cls.newest.kwargs).get_view_name() == "Newest"
    assert cls(**cls.newest.kwargs).get_view_description() == "The last one."


async def test_x2_a_viewset_serves_what_is_not_an_action_as_drf_does(serve: Serve, transactional_db: None) -> None:
    await Group.objects.acreate(name="one")
    theirs = await serve(*routed("drf")).ask_wsgi("PUT", "/groups/newest/")
    ours = await serve(*routed("awaited")).ask("PUT", "/groups/newest/")
    assert alike(ours, theirs)
    assert ours.status == 405
