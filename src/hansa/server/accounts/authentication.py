"""DRF authenticators: `Token <40 hex>`, the token as Basic user without a password, and Basic with a password."""

import base64
import binascii
import re

from django.contrib.auth import authenticate
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from hansa.server.accounts import selectors
from hansa.server.accounts.models import User

_TOKEN = re.compile(r"[0-9a-f]{40}")


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Token <40 hex>`."""

    def authenticate(self, request: Request) -> tuple[User, str] | None:
        """Return the user and the token's text; None if the header has another scheme."""
        scheme, _, credentials = get_authorization_header(request).partition(b" ")
        if scheme.lower() != b"token":
            return None
        return _user_of(credentials.strip().decode("latin1"))

    def authenticate_header(self, request: Request) -> str:
        """What a 401 asks for."""
        return "Token"


class TokenInBasicAuthentication(TokenAuthentication):
    """The token as user name with an empty password, so that http://<token>@host/ works."""

    def authenticate(self, request: Request) -> tuple[User, str] | None:
        """Return the user and the token's text; None unless it is a token in Basic."""
        pair = _basic(request)
        if pair is None or pair[1] or not _TOKEN.fullmatch(pair[0]):
            return None
        return _user_of(pair[0])


class PasswordAuthentication(BaseAuthentication):
    """Basic with user name and password. Slow by design (the hash); tokens are for programs."""

    def is_slow(self, request: Request) -> bool:
        """Whether a password is to be checked: not on the threads that every request needs."""
        pair = _basic(request)
        return pair is not None and not (pair[1] == "" and _TOKEN.fullmatch(pair[0]))

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        """Return the user; None if the header has another scheme."""
        pair = _basic(request)
        if pair is None:
            return None
        user = authenticate(username=pair[0], password=pair[1])
        if not isinstance(user, User):
            raise AuthenticationFailed("Invalid username/password.")
        return user, None

    def authenticate_header(self, request: Request) -> str:
        """What a 401 asks for."""
        return "Basic"


def _user_of(text: str) -> tuple[User, str]:
    user = selectors.user_of_token(text, timezone.now()) if _TOKEN.fullmatch(text) else None
    if user is None:
        raise AuthenticationFailed("Invalid token.")
    return user, text


def _basic(request: Request) -> tuple[str, str] | None:
    scheme, _, credentials = get_authorization_header(request).partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        name, _, password = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise AuthenticationFailed("The Basic header is not base64 of name:password.") from None
    return name, password
