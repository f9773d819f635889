"""The peer by django-bolt: an async handler, Django's async ORM, an answer that msgspec encodes by its declared type.

Its own authenticators (in Rust) know signed tokens and fixed keys, not rows of a table, so the check is in Python. Of
what was tried, this was its fastest: one query by `aget` in a handler that takes the request and nothing else (a
synchronous handler, which it runs on threads, served a quarter less).
"""

import msgspec
from django_bolt import BoltAPI, Request  # type: ignore[import-not-found]  # only its own environment has it
from django_bolt.exceptions import Unauthorized  # type: ignore[import-not-found]  # as above

from peer.models import User

api = BoltAPI(enable_logging=False)  # nobody else here writes a line for each request


class UserRecord(msgspec.Struct):
    id: str
    username: str
    first_name: str
    last_name: str
    email: str
    actor: bool
    client: bool
    message_endpoint: str


async def caller(request: Request) -> User:
    scheme, _, key = request["headers"].get("authorization", "").partition(" ")
    if scheme != "Token":
        raise Unauthorized(detail="A token is wanted.")
    try:
        return await User.objects.aget(auth_token__key=key, is_active=True)
    except User.DoesNotExist:
        raise Unauthorized(detail="Invalid token.") from None


# django-bolt takes slashes from the end of paths.
@api.get("/api/users/myself")  # type: ignore[untyped-decorator]  # as above
async def myself(request: Request) -> UserRecord:
    user = await caller(request)
    return UserRecord(
        id=str(user.id),
        username=user.username,
        first_name=user.first_name,
        last_name=user.last_name,
        email=user.email,
        actor=user.actor,
        client=user.client,
        message_endpoint=user.message_endpoint,
    )
