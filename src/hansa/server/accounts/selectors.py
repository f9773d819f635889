"""Reads of accounts, each with its permission filter."""

from datetime import datetime
from uuid import UUID

import msgspec
from django.contrib.auth.models import Group
from django.db.models import Exists, OuterRef, Q, QuerySet

from hansa.protocol import accounts as wire
from hansa.server.accounts import presence
from hansa.server.accounts.models import Invitation, Token, User
from hansa.server.lifecycle.errors import ForbiddenError, NotFoundError


def myself(user: User) -> wire.User:
    """One's own record."""
    return wire.User(
        id=str(user.id),
        username=user.username,
        first_name=user.first_name,
        last_name=user.last_name,
        email=user.email,
        actor=user.actor,
        client=user.client,
        message_endpoint=user.message_endpoint,
    )


def users(caller: User) -> list[wire.VisibleUser]:
    """Everybody with an account, as the caller may see them."""
    return [visible(user, caller) for user in User.objects.filter(is_active=True).order_by("username")]


def user(caller: User, user_id: UUID, presented: str | None) -> wire.VisibleUser:
    """One person, also one whose account is closed: trainings go on naming them. Raises NotFoundError.

    To the caller themselves with the token that they have `presented`: no other is known by its text.
    """
    found = User.objects.filter(id=user_id).first()
    if found is None:
        raise NotFoundError(f"There is no user {user_id}. GET /api/users/ lists those with an account.")
    shown = visible(found, caller)
    return msgspec.structs.replace(shown, token=presented) if found.id == caller.id else shown


def visible(user: User, caller: User) -> wire.VisibleUser:
    """One person's record: everything of oneself, and for staff; of others the names."""
    if user.id == caller.id or caller.may_register:
        return wire.VisibleUser(**msgspec.structs.asdict(myself(user)))
    return wire.VisibleUser(
        id=str(user.id), username=user.username, first_name=user.first_name, last_name=user.last_name
    )


def groups_of(member: User) -> list[wire.Group]:
    """The groups that somebody is in."""
    return [group_record(group) for group in member.groups.order_by("id")]


def groups(caller: User) -> list[wire.Group]:
    """All groups. Raises ForbiddenError unless the caller is a superuser."""
    if not caller.is_superuser:
        raise ForbiddenError("You are not allowed to access all groups. GET /api/users/groups/ lists your own.")
    return [group_record(group) for group in Group.objects.order_by("id")]


def seen_groups(caller: User) -> QuerySet[Group]:
    """One's own groups; for superusers all."""
    return Group.objects.all() if caller.is_superuser else caller.groups.all()


def group(caller: User, group_id: int) -> Group:
    """One group. Raises NotFoundError, ForbiddenError unless the caller is a member or a superuser.

    That a number is taken tells nothing of the group, so it is not hidden.
    """
    is_member = Exists(caller.groups.filter(id=OuterRef("pk")))
    found = Group.objects.filter(id=group_id).annotate(is_member=is_member).first()  # one look: it may be being deleted
    if found is None:
        raise NotFoundError(f"There is no group {group_id}. GET /api/users/groups/ lists your own.")
    if not (caller.is_superuser or found.is_member):
        raise ForbiddenError("You are not allowed to access this group. Ask an administrator to add you to it.")
    return found


def group_record(group: Group) -> wire.Group:
    """A group as it is shown."""
    return wire.Group(id=group.id, name=group.name)


def tokens(user_id: UUID) -> list[wire.Token]:
    """One's own tokens, without their texts."""
    return [token_record(token) for token in Token.objects.filter(user_id=user_id)]


def token_record(token: Token) -> wire.Token:
    """A token as it is shown."""
    return wire.Token(
        id=str(token.id),
        name=token.name,
        created_at=token.created_at.isoformat(),
        expires_at=token.expires_at.isoformat() if token.expires_at else None,
    )


def clients(actor: User) -> list[wire.ClientSummary]:
    """The clients that an actor has invited or trains with, by name. Raises ForbiddenError for who is no actor."""
    return [client_record(user) for user in known_clients(actor).order_by("username")]


def known_clients(actor: User) -> QuerySet[User]:
    """The clients that an actor has invited or trains with; a superuser sees all. Raises ForbiddenError for others.

    Where registration is open anybody may become an actor; what others' machines do is not theirs to know.
    """
    if not actor.may_act:
        raise ForbiddenError("Only actors may list clients. Ask an administrator for the actor role.")
    rows = User.objects.filter(client=True, is_active=True)
    if not actor.is_superuser:
        trained = User.objects.filter(participations__training__actor=actor, participations__active=True)
        rows = rows.filter(Q(invited_by=actor) | Q(id__in=trained.values("id")))
    return rows.annotate(has_token=Exists(Token.objects.filter(user=OuterRef("pk"))))


def client_record(user: User) -> wire.ClientSummary:
    """One of `known_clients` as it is shown."""
    return wire.ClientSummary(
        id=str(user.id),
        username=user.username,
        enrolled=bool(getattr(user, "has_token", False)) or user.has_usable_password(),
        last_seen=presence.last_seen(user.id, user.last_seen),
    )


def invitation_record(invitation: Invitation) -> wire.OpenInvitation:
    """One of `open_invitations` as it is shown."""
    return wire.OpenInvitation(
        id=str(invitation.id),
        username=invitation.user.username,
        invited_by=invitation.invited_by.username,
        created_at=invitation.created_at.isoformat(),
        expires_at=invitation.expires_at.isoformat(),
    )


def invitations(actor: User, now: datetime) -> list[wire.OpenInvitation]:
    """The records of `open_invitations`."""
    return [invitation_record(invitation) for invitation in open_invitations(actor, now)]


def open_invitations(actor: User, now: datetime) -> QuerySet[Invitation]:
    """The invitations that wait to be used: an actor's own, for a superuser all; those that end first first."""
    rows = Invitation.objects.filter(used_at=None, expires_at__gt=now).select_related("user", "invited_by")
    own = rows if actor.is_superuser else rows.filter(invited_by=actor)
    return own.order_by("expires_at", "id")
