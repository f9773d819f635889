"""People, clients, groups and their credentials.

GET    /api/users/myself/               → User
GET    /api/users/                      → list[VisibleUser]
POST   /api/users/           UserCreate → UserCreated (with a token, shown this once)
GET    /api/users/<id>/                 → VisibleUser
GET    /api/users/groups/               → list[Group]
GET    /api/groups/                     → list[Group]                      (superusers)
POST   /api/groups/         GroupCreate → Group
GET    /api/groups/<id>/                → Group                            (members)
PUT    /api/groups/<id>/    GroupCreate → Group                            (members)
PATCH  /api/groups/<id>/    GroupChange → Group                            (members)
DELETE /api/groups/<id>/                → 204                              (members)
GET    /api/tokens/                     → list[Token]
POST   /api/tokens/          TokenCreate → TokenCreated (the text is shown this once)
DELETE /api/tokens/<id>/                → 204
GET    /api/clients/                    → list[ClientSummary]              (actors)
POST   /api/clients/invitations/  InvitationCreate → Invitation            (actors)
POST   /api/clients/enroll/       Enroll → Enrolled                        (anybody with a code)
"""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from hansa.protocol.base import Answer, Request

Username = Annotated[str, Meta(pattern=r"^[\w.@+-]+$(?!\n)", min_length=1, max_length=150)]
"""Django's user names. Its `$` alone would let a line break pass at the end."""

TokenText = Annotated[str, Meta(pattern="^[0-9a-f]{40}$", max_length=40)]
"""What goes behind `Authorization: Token`."""

Name = Annotated[str, Meta(pattern=r"^[^\x00]*$", max_length=150)]
Email = Annotated[str, Meta(pattern=r"^[^\x00]*$", max_length=254)]
Endpoint = Annotated[str, Meta(pattern=r"^[^\x00]*$", max_length=500)]
"""Where a client takes notifications: an http or https URL that the server may send to. Empty: it asks for its work."""


class User(Answer, frozen=True):
    """One's own record."""

    id: str
    username: str
    first_name: str
    last_name: str
    email: str
    actor: bool
    client: bool
    message_endpoint: str


class UserCreated(User, frozen=True):
    """A new account, and the only answer that carries the text of its first token."""

    token: TokenText


class UserCreate(Request, frozen=True):
    """Make an account. Who is staff, a superuser or in which group is not asked: the administrator decides that."""

    username: Username
    password: Annotated[str, Meta(min_length=1, max_length=1024)]
    first_name: Name = ""
    last_name: Name = ""
    email: Email = ""
    actor: bool = False
    client: bool = False
    message_endpoint: Endpoint = ""


class UserSummary(Answer, frozen=True):
    """What others may see of a person."""

    id: str
    username: str
    first_name: str
    last_name: str


class VisibleUser(UserSummary, frozen=True):
    """A person as the caller may see them: of others the summary; of oneself, and for staff, all but the token."""

    email: str | UnsetType = UNSET
    actor: bool | UnsetType = UNSET
    client: bool | UnsetType = UNSET
    message_endpoint: str | UnsetType = UNSET
    token: TokenText | UnsetType | None = UNSET
    """Where one asks for oneself alone: the token that the request shows; null where it shows none."""


GroupName = Annotated[str, Meta(pattern=r"^[^\x00]*$", min_length=1, max_length=150)]


class Group(Answer, frozen=True):
    """People under one name. It gives no right to a model or a training."""

    id: int
    name: str


class GroupCreate(Request, frozen=True):
    """Make a group, or name it anew."""

    name: GroupName
    id: int | None = None
    """Ignored: a record that was read may be sent back."""


class GroupChange(Request, frozen=True):
    """What is to be changed of a group."""

    name: GroupName | None = None
    id: int | None = None
    """Ignored, as in `GroupCreate`."""


class TokenCreate(Request, frozen=True):
    """Ask for an API token for oneself."""

    name: Annotated[str, Meta(max_length=100)] = ""
    expires_in_seconds: Annotated[float, Meta(gt=0, le=10 * 366 * 86400)] | None = None
    """Left out: the token does not expire."""


class Token(Answer, frozen=True):
    """A token without its text, which the server does not know."""

    id: str
    name: str
    created_at: str
    expires_at: str | None


class TokenCreated(Token, frozen=True):
    """The only answer that carries the token's text."""

    token: TokenText


class InvitationCreate(Request, frozen=True):
    """Invite one client under a user name of the inviter's choice."""

    username: Username
    expires_in_seconds: Annotated[float, Meta(gt=0, le=30 * 86400)] = 86400.0


class OpenInvitation(Answer, frozen=True):
    """An invitation that nobody has used yet; its code is known to who was given it alone."""

    id: str
    username: str
    invited_by: str
    """A user name."""
    created_at: str
    expires_at: str


class Invitation(Answer, frozen=True):
    """A one-time code, shown once. It is exchanged for a token by `Enroll`."""

    username: str
    code: str
    expires_at: str


class Enroll(Request, frozen=True):
    """Exchange a one-time code for a token."""

    code: Annotated[str, Meta(min_length=1, max_length=64)]


class Enrolled(Answer, frozen=True):
    """The client's account and its token, shown once."""

    id: str
    username: Username
    token: TokenText


class ClientSummary(Answer, frozen=True):
    """A user that may be named as a participant."""

    id: str
    username: str
    enrolled: bool
    last_seen: str | None
    """When it last asked for work, ISO 8601; None: never."""
