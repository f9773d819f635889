"""Who may come and who may not: policies that need no database."""

from typing import Any

from django.contrib.auth.models import AnonymousUser
from rest_framework import exceptions, permissions
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle


class Person(AnonymousUser):
    """Somebody known, without a database."""

    is_authenticated = True  # type: ignore[assignment]  # Django's property says no

    def __str__(self) -> str:
        return "ada"


class Knock(BaseAuthentication):
    """`Authorization: Knock ada`."""

    def authenticate(self, request: Request) -> tuple[Person, str] | None:
        kind, _, name = request.headers.get("Authorization", "").partition(" ")
        if kind != "Knock":
            return None
        if name != "ada":
            raise exceptions.AuthenticationFailed("Nobody of that name.")
        return Person(), name

    def authenticate_header(self, request: Request) -> str:
        return 'Knock realm="tests"'


class Never(permissions.BasePermission):
    message = "Never."
    code = "never"

    def has_permission(self, request: Request, view: Any) -> bool:
        return False


class Exhausted(BaseThrottle):
    def allow_request(self, request: Request, view: Any) -> bool:
        return False

    def wait(self) -> float:
        return 42.0
