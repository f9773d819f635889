"""One ViewSet in four ways: of plain DRF, of ours with plain actions, with awaited hooks, and with awaited actions."""

from typing import Any

from django.contrib.auth.models import Group
from rest_framework import filters, mixins, pagination, renderers, routers, serializers, viewsets
from rest_framework.generics import get_object_or_404
from rest_framework.permissions import BasePermission
from rest_framework.response import Response

from hansa.server.lifecycle.decorators import action
from hansa.server.lifecycle.generics import GenericViewSet
from lifecycle.project import BARE

KINDS = ("plain", "awaited hooks", "awaited")
"""Those of ours; `drf` is what they are compared with."""


class GroupSerializer(serializers.ModelSerializer[Group]):
    class Meta:
        model = Group
        fields = ("id", "name")


class NotSecret(BasePermission):
    """Groups named `secret` are nobody's."""

    message = "It is secret."

    def has_object_permission(self, request: Any, view: Any, obj: Group) -> bool:
        return obj.name != "secret"


class Pages(pagination.PageNumberPagination):
    page_size = 2


class Common:
    """What all four have: policies, queryset, filters, pages."""

    locals().update(BARE)
    permission_classes = (NotSecret,)
    queryset = Group.objects.order_by("id")
    serializer_class = GroupSerializer
    filter_backends = (filters.SearchFilter,)
    search_fields = ("name",)
    pagination_class = Pages


class PlainExtras:
    """Extra actions, plain: one for all, one for each with a second method."""

    @action(detail=False)
    def newest(self: Any, request: Any, **kwargs: Any) -> Response:
        """The last one."""
        return Response(self.get_serializer(self.get_queryset().last()).data | {"action": self.action})

    @action(detail=True, methods=["post"], url_path="rename-to", url_name="rename")
    def rename(self: Any, request: Any, pk: Any = None, **kwargs: Any) -> Response:
        """Give it another name."""
        group = self.get_object()
        group.name = request.data["name"]
        group.save()
        return Response({"name": group.name, "action": self.action})

    @rename.mapping.delete
    def unname(self: Any, request: Any, pk: Any = None, **kwargs: Any) -> Response:
        """Take its name away."""
        self.get_queryset().filter(pk=pk).update(name="")
        return Response({"action": self.action})


class Drf(PlainExtras, Common, viewsets.ModelViewSet[Group]):
    pass


class Plain(
    PlainExtras,
    Common,
    mixins.CreateModelMixin,
    mixins.RetrieveModelMixin,
    mixins.UpdateModelMixin,
    mixins.DestroyModelMixin,
    mixins.ListModelMixin,
    GenericViewSet,
):
    pass


class AwaitedHooks(Plain):
    """DRF's own actions over hooks that are `async def`."""

    async def get_queryset(self) -> Any:
        return super().get_queryset()

    async def get_object(self) -> Any:
        queryset = await self.afilter_queryset(await self.get_queryset())
        group = await self.hop(get_object_or_404, queryset, pk=self.kwargs["pk"])
        await self.acheck_object_permissions(self.request, group)
        return group

    async def perform_create(self, serializer: Any) -> None:
        await self.hop(serializer.save)

    async def perform_update(self, serializer: Any) -> None:
        await self.hop(serializer.save)

    async def perform_destroy(self, instance: Any) -> None:
        await instance.adelete()


class Awaited(Common, GenericViewSet):
    """Every action `async def`, by the names that DRF gives them."""

    async def list(self, request: Any, **kwargs: Any) -> Response:
        return await self.alist_response()

    async def retrieve(self, request: Any, **kwargs: Any) -> Response:
        return Response(await self.aserialize(await self.aget_object()))

    async def create(self, request: Any, **kwargs: Any) -> Response:
        return await self._store(201, data=request.data)

    async def update(self, request: Any, **kwargs: Any) -> Response:
        return await self._store(200, await self.aget_object(), data=request.data)

    async def partial_update(self, request: Any, **kwargs: Any) -> Response:
        return await self._store(200, await self.aget_object(), data=request.data, partial=True)

    async def destroy(self, request: Any, **kwargs: Any) -> Response:
        await (await self.aget_object()).adelete()
        return Response(status=204)

    async def _store(self, status: int, *args: Any, **kwargs: Any) -> Response:
        def store() -> Any:
            serializer = self.get_serializer(*args, **kwargs)
            serializer.is_valid(raise_exception=True)
            serializer.save()
            return serializer.data

        return Response(await self.hop(store), status=status)

    @action(detail=False)
    async def newest(self, request: Any, **kwargs: Any) -> Response:
        """The last one."""
        newest = await (await self.aget_queryset()).alast()
        return Response(await self.aserialize(newest) | {"action": self.action})

    @action(detail=True, methods=["post"], url_path="rename-to", url_name="rename")
    async def rename(self, request: Any, pk: Any = None, **kwargs: Any) -> Response:
        """Give it another name."""
        group = await self.aget_object()
        group.name = request.data["name"]
        await group.asave()
        return Response({"name": group.name, "action": self.action})

    @rename.mapping.delete
    async def unname(self, request: Any, pk: Any = None, **kwargs: Any) -> Response:
        """Take its name away."""
        await (await self.aget_queryset()).filter(pk=pk).aupdate(name="")
        return Response({"action": self.action})


_BASES: dict[str, type] = {"drf": Drf, "plain": Plain, "awaited hooks": AwaitedHooks, "awaited": Awaited}


def groups(kind: str, **attributes: Any) -> Any:
    """The ViewSet of this kind, named alike in all of them, with a queryset of its own to guard."""
    own = {"queryset": Common.queryset.all(), "__doc__": "Groups of *people*."}
    return type("GroupViewSet", (_BASES[kind],), {**own, **attributes})


def routed(kind: str, router: Any = None, prefix: str = "groups", **attributes: Any) -> list[Any]:
    """Its URL patterns."""
    router = routers.DefaultRouter() if router is None else router
    router.register(prefix, groups(kind, **attributes), basename="group")
    patterns: list[Any] = router.urls
    return patterns


BROWSABLE = (renderers.JSONRenderer, renderers.BrowsableAPIRenderer)
