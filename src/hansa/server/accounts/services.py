"""Changes to accounts: tokens, invitations, sightings. One transaction each."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.contrib.auth.hashers import make_password

from hansa.protocol.accounts import Enrolled
from hansa.protocol.accounts import Invitation as InvitationAnswer
from hansa.protocol.errors import ErrorCode
from hansa.server.accounts.models import Invitation, Token, User
from hansa.server.accounts.secrets import code_digest, digest, new_code, new_token
from hansa.server.changes import change
from hansa.server.lifecycle.errors import ConflictError, ForbiddenError, NotFoundError, ServiceError


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token and its text, which is not stored."""

    token: Token
    text: str


def create_token(*, user_id: UUID, name: str, expires_in_seconds: float | None, now: datetime) -> NewToken:
    """Make a token. Its text exists only in the answer."""
    text = new_token()
    expires_at = None if expires_in_seconds is None else now + timedelta(seconds=expires_in_seconds)
    with change("accounts.create_token"):
        token = Token.objects.create(
            user_id=user_id, name=name, digest=digest(text), created_at=now, expires_at=expires_at
        )
    return NewToken(token, text)


def revoke_token(*, user_id: UUID, token_id: UUID) -> None:
    """Delete one of one's own tokens. Raises NotFoundError for another's."""
    with change("accounts.revoke_token"):
        deleted, _ = Token.objects.filter(id=token_id, user_id=user_id).delete()
    if not deleted:
        raise NotFoundError(f"You have no token {token_id}. GET /api/tokens/ lists yours.")


def invite(*, actor: User, username: str, expires_in_seconds: float, now: datetime) -> InvitationAnswer:
    """Make a client account, or take one this actor invited before, and a one-time code for it.

    Raises ForbiddenError unless the caller may act, ConflictError if the name is somebody else's.
    """
    if not actor.may_act:
        raise ForbiddenError("Only actors may invite clients. Ask an administrator for the actor role.")
    code = new_code()
    expires_at = now + timedelta(seconds=expires_in_seconds)
    with change("accounts.invite"):
        user, created = User.objects.get_or_create(
            username=username, defaults={"client": True, "invited_by": actor, "password": make_password(None)}
        )
        if not created and not _may_invite_again(actor, user):
            raise ConflictError(f"The name {username!r} is taken. Choose another.", ErrorCode.IN_USE)
        Invitation.objects.filter(user=user, used_at=None).delete()
        Invitation.objects.create(
            user=user, invited_by=actor, digest=code_digest(code), created_at=now, expires_at=expires_at
        )
    return InvitationAnswer(username=username, code=code, expires_at=expires_at.isoformat())


def _may_invite_again(actor: User, user: User) -> bool:
    """A lost token is replaced by inviting again: only a client without other powers, and only by who invited it."""
    plain_client = user.client and not user.may_act and not user.is_staff
    return plain_client and user.is_active and (user.invited_by_id == actor.id or actor.is_superuser)


def revoke_invitation(*, actor: User, invitation_id: UUID) -> str:
    """Take an invitation back that nobody has used; the account stays. Returns for whom it was.

    Raises NotFoundError for one that was used, that another has made, or that is unknown.
    """
    with change("accounts.revoke_invitation"):
        mine = Invitation.objects.filter(id=invitation_id, used_at=None)
        found = (mine if actor.is_superuser else mine.filter(invited_by=actor)).select_related("user").first()
        if found is None or not mine.delete()[0]:
            raise NotFoundError("This invitation is not there any more: it was used, or taken back already.")
    return found.user.username


def enroll(*, code: str, now: datetime) -> Enrolled:
    """Exchange a code for a token, once. Older tokens of the client stop working.

    Raises ServiceError `invitation_invalid` for a code that is unknown, used or expired: one answer for all three.
    """
    text = new_token()
    with change("accounts.enroll"):
        # Locked: where several threads write, all of them would find it unused.
        known = Invitation.objects.select_for_update(of=("self",)).select_related("user")
        invitation = known.filter(digest=code_digest(code)).first()
        spent = invitation is None or not (
            Invitation.objects.filter(id=invitation.id, used_at=None, expires_at__gt=now, user__is_active=True).update(
                used_at=now
            )
        )
        if invitation is None or spent:
            raise ServiceError(
                "This code is unknown, was used already, or has expired. Ask for a new one (hansa clients invite).",
                ErrorCode.INVITATION_INVALID,
            )
        Token.objects.filter(user=invitation.user).delete()
        Token.objects.create(user=invitation.user, name="enrolled", digest=digest(text), created_at=now)
    return Enrolled(id=str(invitation.user.id), username=invitation.user.username, token=text)
