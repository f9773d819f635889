"""Users, tokens, invitations; groups are in `group_api`. The messages are in `hansa.protocol.accounts`."""

from uuid import UUID

import msgspec
from django.contrib.auth.hashers import make_password
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle

from hansa.protocol import accounts as wire
from hansa.server.accounts import registration, selectors, services
from hansa.server.accounts.attempts import attempt
from hansa.server.accounts.permissions import IsActor, MayRegister, caller
from hansa.server.accounts.throttles import SignUpThrottle
from hansa.server.lifecycle.bridge import call, read, slowly
from hansa.server.lifecycle.errors import ServiceError
from hansa.server.lifecycle.in_place import in_place
from hansa.server.lifecycle.messages import FormMessageView, MessageView
from hansa.server.lifecycle.openapi import body, listing, ref, refusals


class Myself(MessageView):
    """One's own record."""

    @extend_schema(responses={200: ref(wire.User)})
    async def get(self, request: Request) -> Response:
        """Who am I?"""
        return Response(selectors.myself(caller(request)))


class Users(FormMessageView):
    """All users, as the caller may see them; and new ones."""

    @in_place
    def get_permissions(self) -> list[BasePermission]:
        """To make an account need not take one."""
        return [MayRegister()] if self.request.method == "POST" else [IsAuthenticated()]

    @in_place
    def get_throttles(self) -> list[BaseThrottle]:
        """Making accounts has a limit of its own."""
        throttles: list[BaseThrottle] = super().get_throttles()
        return [*throttles, SignUpThrottle()] if self.request.method == "POST" else throttles

    @extend_schema(responses={200: listing(wire.VisibleUser)})
    async def get(self, request: Request) -> Response:
        """List users: id, user name and names; of oneself, and for staff, everything but tokens."""
        return Response(await read(selectors.users, caller(request)))

    @extend_schema(request=body(wire.UserCreate), responses={201: ref(wire.UserCreated)})
    async def post(self, request: Request) -> Response:
        """Make an account, as JSON or a form. Its first token is in this answer and nowhere else."""
        asked = await self.message(wire.UserCreate)
        user = await read(registration.draft, asked)
        user.password = await slowly(make_password, asked.password)
        token = await call(registration.register, user=user, now=timezone.now())
        made = wire.UserCreated(**msgspec.structs.asdict(selectors.myself(user)), token=token)
        return Response(made, status=201)


class UserDetail(MessageView):
    """One user."""

    @extend_schema(responses={200: ref(wire.VisibleUser)})
    async def get(self, request: Request, user_id: UUID) -> Response:
        """Whose id is this? Of oneself the answer has the token of the request."""
        presented = request.auth if isinstance(request.auth, str) else None
        return Response(await read(selectors.user, caller(request), user_id, presented))


class Tokens(MessageView):
    """One's own API tokens."""

    @extend_schema(responses={200: listing(wire.Token)})
    async def get(self, request: Request) -> Response:
        """List one's tokens, without their texts."""
        return Response(await read(selectors.tokens, caller(request).id))

    @extend_schema(request=body(wire.TokenCreate), responses={201: ref(wire.TokenCreated)})
    async def post(self, request: Request) -> Response:
        """Make a token. Its text is in this answer and nowhere else."""
        asked = await self.message(wire.TokenCreate)
        new = await call(
            services.create_token,
            user_id=caller(request).id,
            name=asked.name,
            expires_in_seconds=asked.expires_in_seconds,
            now=timezone.now(),
        )
        shown = selectors.token_record(new.token)
        answer = wire.TokenCreated(
            id=shown.id, name=shown.name, created_at=shown.created_at, expires_at=shown.expires_at, token=new.text
        )
        return Response(answer, status=201)


class TokenDetail(MessageView):
    """One of one's own tokens."""

    @extend_schema(responses={204: None})
    async def delete(self, request: Request, token_id: UUID) -> Response:
        """Revoke a token: it is refused from the moment this answers."""
        await call(services.revoke_token, user_id=caller(request).id, token_id=token_id)
        return Response(status=204)


class Clients(MessageView):
    """Clients, and when they were last seen."""

    permission_classes = (IsActor,)

    @extend_schema(responses={200: listing(wire.ClientSummary)})
    async def get(self, request: Request) -> Response:
        """List the clients that one has invited or trains with, for actors; for superusers all."""
        return Response(await read(selectors.clients, caller(request)))


class Invitations(MessageView):
    """One-time codes for new clients."""

    permission_classes = (IsActor,)

    @extend_schema(responses={200: listing(wire.OpenInvitation)})
    async def get(self, request: Request) -> Response:
        """List the invitations of one's own that nobody has used, without their codes; for superusers all."""
        return Response(await read(selectors.invitations, caller(request), timezone.now()))

    @extend_schema(request=body(wire.InvitationCreate), responses={201: ref(wire.Invitation), **refusals(409)})
    async def post(self, request: Request) -> Response:
        """Invite a client. The code is in this answer and nowhere else."""
        asked = await self.message(wire.InvitationCreate)
        invitation = await call(
            services.invite,
            actor=caller(request),
            username=asked.username,
            expires_in_seconds=asked.expires_in_seconds,
            now=timezone.now(),
        )
        return Response(invitation, status=201)


class InvitationDetail(MessageView):
    """One of one's own invitations."""

    permission_classes = (IsActor,)

    @extend_schema(responses={204: None})
    async def delete(self, request: Request, invitation_id: UUID) -> Response:
        """Take an invitation back: its code works no more. The client's account stays."""
        await call(services.revoke_invitation, actor=caller(request), invitation_id=invitation_id)
        return Response(status=204)


class Enroll(MessageView):
    """The second machine's first call."""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(request=body(wire.Enroll), responses={201: ref(wire.Enrolled), **refusals(429)}, auth=[])
    async def post(self, request: Request) -> Response:
        """Exchange a one-time code for a token."""
        asked = await self.message(wire.Enroll, limit=4096)
        trying = attempt(request)
        trying.check()
        try:
            enrolled = await call(services.enroll, code=asked.code, now=timezone.now())
        except ServiceError:
            trying.failed()
            raise
        return Response(enrolled, status=201)
