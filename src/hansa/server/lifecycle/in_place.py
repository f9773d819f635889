"""Which synchronous code may run on the event loop: what says so itself, and what is known of DRF's own classes.

A policy class, a hook or an exception handler that does not block (no query, no file, no lock that is held for long)
says so by the attribute `in_place = True`; a function by the decorator `in_place`. Everything else that is synchronous
gets a thread hop. Who says so and blocks nevertheless is refused by Django: SynchronousOnlyOperation.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from asgiref.sync import iscoroutinefunction
from rest_framework import permissions
from rest_framework.request import ForcedAuthentication

F = TypeVar("F", bound=Callable[..., Any])  # Any: any function at all

_KNOWN = {
    permissions.BasePermission.has_permission,
    permissions.BasePermission.has_object_permission,
    permissions.AllowAny.has_permission,
    permissions.IsAuthenticated.has_permission,
    permissions.IsAdminUser.has_permission,
    permissions.IsAuthenticatedOrReadOnly.has_permission,
    ForcedAuthentication.authenticate,
}
_FRAMEWORK = ("rest_framework.", "hansa.server.lifecycle.", "django.")


def in_place(function: F) -> F:
    """Mark a synchronous function that does not block."""
    function.in_place = True  # type: ignore[attr-defined]  # a mark, read below
    return function


def is_in_place(policy: object, method: str) -> bool:
    """Whether `policy.method`, synchronous, may be called on the event loop."""
    if getattr(policy, "in_place", False):
        return True
    function = getattr(type(policy), method, None)
    return getattr(function, "in_place", False) or function in _KNOWN


def may_block(policy: type | None, method: str) -> bool:
    """Whether a policy class brings a method of its own, and does not say that it never blocks."""
    if policy is None or getattr(policy, "in_place", False):
        return False
    function = getattr(policy, method, None)
    return not is_framework(function) and not getattr(function, "in_place", False)


def is_framework(function: object) -> bool:
    """Whether a hook is DRF's own or ours: what they do off the event loop is known, and done there."""
    return str(getattr(function, "__module__", "")).startswith(_FRAMEWORK)


def is_async(function: object) -> bool:
    """Whether calling it gives something to await."""
    return iscoroutinefunction(function)
