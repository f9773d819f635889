"""Groups. The messages are in `hansa.protocol.accounts`."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from hansa.protocol import accounts as wire
from hansa.server.accounts import groups, selectors
from hansa.server.accounts.permissions import caller
from hansa.server.lifecycle.bridge import call, read
from hansa.server.lifecycle.messages import FormMessageView, MessageView
from hansa.server.lifecycle.openapi import body, listing, ref, refusals


class MyGroups(MessageView):
    """The groups that one is in."""

    @extend_schema(responses={200: listing(wire.Group)})
    async def get(self, request: Request) -> Response:
        """List one's own groups."""
        return Response(await read(selectors.groups_of, caller(request)))


class Groups(FormMessageView):
    """All groups; and new ones."""

    @extend_schema(responses={200: listing(wire.Group), **refusals(403)})
    async def get(self, request: Request) -> Response:
        """List all groups, for superusers."""
        return Response(await read(selectors.groups, caller(request)))

    @extend_schema(request=body(wire.GroupCreate), responses={201: ref(wire.Group)})
    async def post(self, request: Request) -> Response:
        """Make a group, and be its first member."""
        asked = await self.message(wire.GroupCreate)
        made = await call(groups.create, creator=caller(request), name=asked.name)
        return Response(selectors.group_record(made), status=201)


class GroupDetail(FormMessageView):
    """One group, for its members and superusers."""

    @extend_schema(responses={200: ref(wire.Group), **refusals(403)})
    async def get(self, request: Request, group_id: int) -> Response:
        """The group."""
        return Response(selectors.group_record(await read(selectors.group, caller(request), group_id)))

    @extend_schema(request=body(wire.GroupCreate), responses={200: ref(wire.Group), **refusals(403)})
    async def put(self, request: Request, group_id: int) -> Response:
        """Give the group another name."""
        return await self._rename(request, group_id, wire.GroupCreate)

    @extend_schema(request=body(wire.GroupChange), responses={200: ref(wire.Group), **refusals(403)})
    async def patch(self, request: Request, group_id: int) -> Response:
        """Change what is named: the name, or nothing."""
        return await self._rename(request, group_id, wire.GroupChange)

    @extend_schema(responses={204: None, **refusals(403)})
    async def delete(self, request: Request, group_id: int) -> Response:
        """Delete the group. Its members stay."""
        await call(groups.delete, caller=caller(request), group_id=group_id)
        return Response(status=204)

    async def _rename(
        self, request: Request, group_id: int, kind: type[wire.GroupCreate] | type[wire.GroupChange]
    ) -> Response:
        await read(selectors.group, caller(request), group_id)  # what others send is not even read
        asked = await self.message(kind)
        renamed = await call(groups.rename, caller=caller(request), group_id=group_id, name=asked.name)
        return Response(selectors.group_record(renamed))
