"""DRF authenticators: `Token <40 hex>`, the token as Basic user without a password, and Basic with a password.

Each is awaited (`aauthenticate`) and asks `credentials.directory`; DRF's `authenticate`, for plain DRF views, waits for
the same.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from contextlib import contextmanager

from asgiref.sync import async_to_sync
from django.contrib.auth import authenticate
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from hansa.server.accounts.attempts import attempt
from hansa.server.accounts.credentials.directory import directory
from hansa.server.accounts.models import User
from hansa.server.lifecycle.bridge import slowly
from hansa.server.measures import SIGN_INS_FAILED

_TOKEN = re.compile(r"[0-9a-f]{40}")


class _Awaited(BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[User, str | None] | None:
        """`aauthenticate`, for synchronous code."""
        return async_to_sync(self.aauthenticate)(request)

    async def aauthenticate(self, request: Request) -> tuple[User, str | None] | None:
        """Return the user and the token's text, if it was one; None if the header has another scheme."""
        raise NotImplementedError


class TokenAuthentication(_Awaited):
    """`Authorization: Token <40 hex>`."""

    async def aauthenticate(self, request: Request) -> tuple[User, str] | None:
        """Return the user and the token's text; None if the header has another scheme."""
        text = self.presented(request)
        if text is None:
            return None
        user = await (await directory()).user_of_token(text, timezone.now)
        if user is None:
            SIGN_INS_FAILED.labels("token").inc()
            raise AuthenticationFailed("Invalid token.")
        return user, text

    def presented(self, request: Request) -> str | None:
        """The token in the request; None if there is another kind of credential, or none.

        Raises AuthenticationFailed for what can be no token.
        """
        scheme, _, credentials = get_authorization_header(request).partition(b" ")
        if scheme.lower() != b"token":
            return None
        text = credentials.strip().decode("latin1")
        if not _TOKEN.fullmatch(text):
            raise AuthenticationFailed("Invalid token.")
        return text

    def authenticate_header(self, request: Request) -> str:
        """What a 401 asks for."""
        return "Token"


class TokenInBasicAuthentication(TokenAuthentication):
    """The token as user name with an empty password, so that http://<token>@host/ works."""

    def presented(self, request: Request) -> str | None:
        """The token in the request; None unless it is a token in Basic."""
        pair = _basic(request)
        return pair[0] if pair is not None and not pair[1] and _TOKEN.fullmatch(pair[0]) else None


class PasswordAuthentication(_Awaited):
    """Basic with user name and password. Slow by design (the hash); tokens are for programs."""

    async def aauthenticate(self, request: Request) -> tuple[User, None] | None:
        """Return the user; None if the header has another scheme.

        A password that was found right in the last minutes is not hashed again. Any other pays for the
        slow hash, also under a name that nobody has: Django sees to that.
        """
        pair = _basic(request)
        if pair is None:
            return None
        username, password = pair
        users = await directory()
        user = await users.user_named(username)
        if user is None or not users.passwords.knows(user, password):
            with _counted(request, username):
                user = _signed_in(await slowly(authenticate, username=username, password=password))
            users.passwords.remember(user, password)
        return user, None

    def authenticate_header(self, request: Request) -> str:
        """What a 401 asks for."""
        return "Basic"


@contextmanager
def _counted(request: Request, username: str) -> Iterator[None]:
    """Refuse before the hash, by Throttled, what has failed too often; count what fails now, and nothing else."""
    trying = attempt(request, username)
    trying.check()
    try:
        yield
    except AuthenticationFailed:
        trying.failed()
        raise
    trying.succeeded()


def _signed_in(user: object) -> User:
    if not isinstance(user, User):
        raise AuthenticationFailed("Invalid username/password.")
    return user


def _basic(request: Request) -> tuple[str, str] | None:
    scheme, _, credentials = get_authorization_header(request).partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        name, _, password = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise AuthenticationFailed("The Basic header is not base64 of name:password.") from None
    if "\0" in name:
        # Nobody is called so, and PostgreSQL refuses to be asked.
        raise AuthenticationFailed("Invalid username/password.")
    return name, password
