"""DRF's generic views, awaited: the `a…` methods do what their namesakes do, whichever way those are overridden.

DRF's mixins (`ListModelMixin`, …) work as they are: their actions are synchronous, and cost one thread hop for all they
do. Serializers stay DRF's; from an `async def` action call them by `await self.hop(...)`.
"""

from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet
from rest_framework import generics
from rest_framework.response import Response

from hansa.server.lifecycle.anatomy import Kind
from hansa.server.lifecycle.views import APIView
from hansa.server.lifecycle.viewsets import ViewSetMixin


# No docstrings: schema tools describe a view by the first that they find.
class GenericAPIView(generics.GenericAPIView[Any], APIView):  # noqa: D101  # see above; Any: any model
    # DRF's GenericAPIView over the awaited lifecycle.

    async def aget_queryset(self) -> QuerySet[Any]:  # Any: any model
        """`get_queryset`, awaited. Building a queryset asks nothing of the database yet."""
        queryset: QuerySet[Any] = await self._step("get_queryset")  # Any: as above
        return queryset

    async def afilter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:  # Any: any model
        """`filter_queryset`, awaited, on the request's thread: filter backends may query."""
        if self._anatomy.kinds["filter_queryset"] is Kind.OWN:
            return await self.hop(self.filter_queryset, queryset)
        filtered: QuerySet[Any] = await self._step("filter_queryset", queryset)  # Any: as above
        return filtered

    async def aget_object(self) -> Any:  # Any: any model
        """`get_object`, awaited: filtered, looked up by the URL's argument, and checked for the caller's right to it.

        Raises Http404, NotAuthenticated and PermissionDenied.
        """
        if self._anatomy.kinds["get_object"] is not Kind.OWN:
            return await self._step("get_object")
        queryset = await self.afilter_queryset(await self.aget_queryset())
        lookup = self.lookup_url_kwarg or self.lookup_field
        found = await self.hop(generics.get_object_or_404, queryset, **{self.lookup_field: self.kwargs[lookup]})
        await self.acheck_object_permissions(self.request, found)
        return found

    async def apaginate_queryset(self, queryset: Any) -> Sequence[Any] | None:  # Any: a queryset or a sequence
        """`paginate_queryset`, awaited: one page, evaluated; None without pagination."""
        if self._anatomy.kinds["paginate_queryset"] is Kind.OWN:
            return await self.hop(self.paginate_queryset, queryset)
        page: Sequence[Any] | None = await self._step("paginate_queryset", queryset)  # Any: as above
        return page

    async def aserialize(self, instance: Any, **kwargs: Any) -> Any:  # Any: whatever the serializer takes and gives
        """`get_serializer(instance, …).data`, on the request's thread."""
        return await self.hop(lambda: self.get_serializer(instance, **kwargs).data)

    async def alist_response(self, queryset: Any = None, **kwargs: Any) -> Response:  # Any: as above
        """What DRF's `list` answers for a queryset (default: `aget_queryset`): filtered, paginated, serialized."""
        rows = await self.afilter_queryset(await self.aget_queryset() if queryset is None else queryset)
        page = await self.apaginate_queryset(rows)
        data = await self.aserialize(rows if page is None else page, many=True, **kwargs)
        return Response(data) if page is None else self.get_paginated_response(data)


class GenericViewSet(ViewSetMixin, GenericAPIView):  # noqa: D101  # see above
    # DRF's GenericViewSet over the awaited lifecycle; add DRF's model mixins, or actions of your own.
    pass
