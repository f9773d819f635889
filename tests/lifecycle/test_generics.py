"""Generic ViewSets: DRF's mixins over plain and awaited hooks, and awaited actions. Row X7 of the lifecycle."""

import json
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction
from django.contrib.auth.models import Group
from django.urls import path
from rest_framework import exceptions
from rest_framework.mixins import ListModelMixin
from rest_framework.response import Response
from rest_framework.serializers import ValidationError

from hansa.server.lifecycle.generics import GenericAPIView, GenericViewSet
from hansa.server.lifecycle.promises import UnawaitedError
from lifecycle.likeness import Serve, escaped
from lifecycle.project import Answered, Site, alike
from lifecycle.twins import KINDS, Common, groups, routed


async def stored() -> list[tuple[int, str]]:
    return [row async for row in Group.objects.order_by("id").values_list("id", "name")]


async def filled() -> None:
    """Three groups, always with the same ids."""
    await Group.objects.all().adelete()
    await Group.objects.abulk_create([Group(id=n, name=name) for n, name in ((1, "one"), (2, "two"), (3, "secret"))])


REQUESTS: list[tuple[str, str, Any, int]] = [
    ("GET", "/groups/", None, 200),
    ("GET", "/groups/?page=2", None, 200),
    ("GET", "/groups/?page=9", None, 404),
    ("GET", "/groups/?search=two", None, 200),
    ("GET", "/groups.json", None, 200),
    ("GET", "/groups/1/", None, 200),
    ("GET", "/groups/1/?search=two", None, 404),
    ("GET", "/groups/3/", None, 403),
    ("GET", "/groups/9/", None, 404),
    ("GET", "/groups/x/", None, 404),
    ("HEAD", "/groups/1/", None, 200),
    ("POST", "/groups/", {"name": "new"}, 201),
    ("POST", "/groups/", {"name": "one"}, 400),
    ("POST", "/groups/", {}, 400),
    ("POST", "/groups/1/", {}, 405),
    ("PUT", "/groups/1/", {"name": "uno"}, 200),
    ("PUT", "/groups/1/", {"name": "x" * 151}, 400),
    ("PUT", "/groups/3/", {"name": "open"}, 403),
    ("PATCH", "/groups/2/", {"name": "due"}, 200),
    ("PATCH", "/groups/2/", {}, 200),
    ("DELETE", "/groups/2/", None, 204),
    ("DELETE", "/groups/3/", None, 403),
    ("OPTIONS", "/groups/", None, 200),
    ("OPTIONS", "/groups/1/", None, 200),
    ("GET", "/groups/newest/", None, 200),
    ("POST", "/groups/1/rename-to/", {"name": "uno"}, 200),
    ("POST", "/groups/3/rename-to/", {"name": "open"}, 403),
    ("DELETE", "/groups/1/rename-to/", None, 200),
    ("GET", "/groups/1/rename-to/", None, 405),
    ("OPTIONS", "/groups/1/rename-to/", None, 200),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("method", "url", "data", "status"), REQUESTS, ids=lambda value: str(value)[:30])
async def test_x7_a_generic_viewset_answers_and_stores_what_drfs_does(
    serve: Serve, transactional_db: None, kind: str, method: str, url: str, data: Any, status: int
) -> None:
    sent = {} if data is None else {"Content-Type": "application/json"}
    body = b"" if data is None else json.dumps(data).encode()
    await filled()
    theirs = await serve(*routed("drf")).ask_wsgi(method, url, body, sent)
    expected = await stored()
    await filled()
    ours = await serve(*routed(kind)).ask(method, url, body, sent)
    assert _without_new_id(ours) == _without_new_id(theirs)
    assert alike(ours, theirs) or status == 201, (ours, theirs)
    assert (ours.status, [name for _, name in await stored()]) == (status, [name for _, name in expected])


def _without_new_id(answer: Answered) -> tuple[int, Any]:
    """A sequence may go on counting where the last test left it."""
    data = answer.json if answer.body else None
    if answer.status == 201:
        data.pop("id")
    return answer.status, data


@pytest.mark.parametrize("kind", KINDS)
async def test_x7_the_queryset_of_the_class_is_never_evaluated(serve: Serve, transactional_db: None, kind: str) -> None:
    await filled()
    site = serve(*routed(kind))
    await site.ask(url="/groups/")
    await Group.objects.filter(pk=1).aupdate(name="changed meanwhile")
    assert (await site.ask(url="/groups/")).json["results"][0]["name"] == "changed meanwhile"


async def viewed(serve: Serve, cls: Any, url: str = "/groups/", method: str = "get") -> Answered:
    await filled()
    site: Site = serve(*routed_class(cls))
    return await site.ask(method.upper(), url)


def routed_class(cls: Any) -> list[Any]:
    return [path("groups/<pk>/", cls.as_view()), path("groups/", cls.as_view())]


async def test_x7_plain_overrides_are_honoured_by_their_awaited_namesakes(serve: Serve, transactional_db: None) -> None:
    class Own(Common, GenericAPIView):
        pagination_class = None

        def get_queryset(self) -> Any:
            return Group.objects.filter(name="two")

        def filter_queryset(self, queryset: Any) -> Any:
            assert queryset.exists()  # it may query
            return queryset.order_by("-id")

        async def get(self, request: Any) -> Response:
            return await self.alist_response()

    assert (await viewed(serve, Own)).json == [{"id": 2, "name": "two"}]


class AwaitedHooks:
    """Every hook that lists go through, made awaited."""

    async def get_queryset(self) -> Any:
        return Group.objects.filter(name="two")

    async def filter_queryset(self, queryset: Any) -> Any:
        return queryset if await queryset.aexists() else queryset.none()

    async def paginate_queryset(self, queryset: Any) -> Any:
        return [group async for group in queryset]


async def test_x7_awaited_overrides_are_honoured_by_their_awaited_namesakes(
    serve: Serve, transactional_db: None
) -> None:
    class Own(AwaitedHooks, Common, GenericAPIView):
        async def get(self, request: Any) -> Response:
            page = await self.apaginate_queryset(await self.afilter_queryset(await self.aget_queryset()))
            return Response(await self.aserialize(page, many=True))

    assert (await viewed(serve, Own)).json == [{"id": 2, "name": "two"}]


async def test_x7_drfs_list_over_awaited_overrides_of_every_hook_it_calls(serve: Serve, transactional_db: None) -> None:
    class Own(ListModelMixin, AwaitedHooks, Common, GenericViewSet):
        def get_paginated_response(self, data: Any) -> Response:
            return Response({"page": data})

    await filled()
    site = serve(path("groups/", Own.as_view({"get": "list"})))
    assert (await site.ask(url="/groups/")).json == {"page": [{"id": 2, "name": "two"}]}


async def test_x7_an_awaited_get_serializer_class_is_bridged(serve: Serve, transactional_db: None) -> None:
    class Shouting(Common.serializer_class):  # type: ignore[name-defined,misc]  # a class is what it is
        def to_representation(self, instance: Any) -> Any:
            return {"name": instance.name.upper()}

    class Own(Common, GenericAPIView):
        async def get_serializer_class(self) -> Any:
            return Shouting

        async def get(self, request: Any, pk: Any) -> Response:
            return Response(await self.aserialize(await self.aget_object()))

    assert (await viewed(serve, Own, "/groups/1/")).json == {"name": "ONE"}


@pytest.mark.parametrize(("pk", "status"), [("1", 200), ("3", 403), ("9", 404), ("no-number", 404)])
async def test_x7_aget_object_looks_up_by_what_the_class_says(
    serve: Serve, transactional_db: None, pk: str, status: int
) -> None:
    class Own(Common, GenericAPIView):
        lookup_field = "id"
        lookup_url_kwarg = "pk"

        async def get(self, request: Any, pk: Any) -> Response:
            return Response((await self.aget_object()).name)

    assert (await viewed(serve, Own, f"/groups/{pk}/")).status == status


async def test_x7_a_plain_get_object_of_ones_own_may_be_awaited_as_well(serve: Serve, transactional_db: None) -> None:
    class Own(Common, GenericAPIView):
        def get_object(self) -> Any:
            return Group.objects.get(name="two")

        async def get(self, request: Any, pk: Any) -> Response:
            return Response((await self.aget_object()).name)

    assert (await viewed(serve, Own, "/groups/1/")).json == "two"


async def test_x7_an_object_check_that_nobody_awaits_is_no_answer(serve: Serve, transactional_db: None) -> None:
    class Careless(Common, GenericAPIView):
        async def get(self, request: Any, pk: Any) -> Response:
            secret = await Group.objects.aget(pk=pk)
            self.check_object_permissions(request, secret)
            return Response(secret.name)

    with escaped() as errors:
        answer = await viewed(serve, Careless, "/groups/3/")
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert [type(error) for error in errors] == [UnawaitedError]
    assert "check_object_permissions" in str(errors[0])


@pytest.mark.parametrize("error", [ValidationError({"name": ["No."]}), exceptions.PermissionDenied()])
async def test_x7_what_a_bridged_hook_raises_is_answered(
    serve: Serve, transactional_db: None, error: exceptions.APIException
) -> None:
    async def perform_create(self: Any, serializer: Any) -> None:
        raise error

    site = serve(*routed("plain", perform_create=perform_create))
    answer = await site.ask_json("POST", "/groups/", {"name": "new"})
    assert answer.status == error.status_code


def test_x7_a_route_is_awaited_by_what_it_needs() -> None:
    awaited = {kind: iscoroutinefunction(groups(kind).as_view({"get": "list"})) for kind in ("drf", *KINDS)}
    assert awaited == {"drf": False, "plain": False, "awaited hooks": True, "awaited": True}
