"""Calling policies: authenticators, permissions and throttles, plain or awaited, alone or composed by `&`, `|`, `~`.

Where a policy offers the awaited method (`aauthenticate`, `ahas_permission`, `ahas_object_permission`,
`aallow_request`), that one is asked, from synchronous views as well. A synchronous policy is asked on the event loop if
it says that it does not block (`in_place.py`); neighbours that may block share one thread hop. The order is the list's.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Protocol, TypeVar

from asgiref.sync import async_to_sync
from rest_framework.permissions import AND, NOT, OR
from rest_framework.request import Request

from hansa.server.lifecycle.in_place import is_in_place

T = TypeVar("T")
Policy = Any
"""A policy is what its duck says: DRF prescribes no base class, and composed permissions have none."""


class View(Protocol):
    """What policies need of the view that asks them."""

    async def hop(self, function: Callable[..., T], *args: Any) -> T:  # Any: whatever the function takes
        """Call on the request's thread."""


def authenticate(authenticator: Policy, request: Request) -> tuple[Any, Any] | None:  # Any: user, credential
    """Ask one authenticator, from synchronous code."""
    if (awaited := getattr(authenticator, "aauthenticate", None)) is not None:
        authenticator_says = async_to_sync(awaited)
    else:
        authenticator_says = authenticator.authenticate
    found: tuple[Any, Any] | None = authenticator_says(request)  # Any: as above
    return found


async def aauthenticate(
    authenticators: Sequence[Policy], request: Request, view: View
) -> tuple[Policy, tuple[Any, Any]] | None:
    """The first authenticator that knows the caller, and what it says; None if none does."""
    for blocking, some in _runs(authenticators, "authenticate", ready=True):
        found = await view.hop(_ask_in_turn, some, request) if blocking else None
        if blocking and found is not None:
            return found
        for authenticator in () if blocking else some:
            awaited = getattr(authenticator, "aauthenticate", None)
            pair = await awaited(request) if awaited is not None else authenticator.authenticate(request)
            if pair is not None:
                return authenticator, pair
    return None


def _ask_in_turn(authenticators: Sequence[Policy], request: Request) -> tuple[Policy, tuple[Any, Any]] | None:
    for authenticator in authenticators:
        if (pair := authenticator.authenticate(request)) is not None:
            return authenticator, pair
    return None


def has_permission(permission: Policy, request: Request, view: View) -> bool:
    """Ask one permission, from synchronous code."""
    if _offers(permission, "ahas_permission"):
        return async_to_sync(_ahas_permission)(permission, request, view)
    return bool(permission.has_permission(request, view))


def has_object_permission(permission: Policy, request: Request, view: View, obj: object) -> bool:
    """Ask one permission about an object, from synchronous code."""
    if _offers(permission, "ahas_permission") or _offers(permission, "ahas_object_permission"):
        return async_to_sync(_ahas_object_permission)(permission, request, view, obj)
    return bool(permission.has_object_permission(request, view, obj))


async def first_denying(permissions: Sequence[Policy], request: Request, view: View, *, ready: bool) -> Policy | None:
    """The first permission that says no; None if all say yes.

    `ready`: the request is authenticated, so that reading `request.user` does not block.
    """
    for blocking, some in _runs(permissions, "has_permission", ready=ready):
        if blocking:
            denying = await view.hop(_denying_in_turn, some, request, view)
            if denying is not None:
                return denying
            continue
        for permission in some:
            if not await _ahas_permission(permission, request, view):
                return permission
    return None


async def first_denying_object(
    permissions: Sequence[Policy], request: Request, view: View, obj: object, *, ready: bool
) -> Policy | None:
    """The first permission that says no to this object; None if all say yes."""
    for blocking, some in _runs(permissions, "has_object_permission", ready=ready):
        if blocking:
            denying = await view.hop(_denying_object_in_turn, some, request, view, obj)
            if denying is not None:
                return denying
            continue
        for permission in some:
            if not await _ahas_object_permission(permission, request, view, obj):
                return permission
    return None


def _denying_in_turn(permissions: Sequence[Policy], request: Request, view: View) -> Policy | None:
    return next((each for each in permissions if not each.has_permission(request, view)), None)


def _denying_object_in_turn(permissions: Sequence[Policy], request: Request, view: View, obj: object) -> Policy | None:
    return next((each for each in permissions if not each.has_object_permission(request, view, obj)), None)


async def _ahas_permission(permission: Policy, request: Request, view: View) -> bool:
    kind = type(permission)
    if issubclass(kind, NOT):
        return not await _ahas_permission(permission.op1, request, view)
    if not issubclass(kind, AND | OR):
        return bool(await _ask(permission, "has_permission", view, request, view))
    first = await _ahas_permission(permission.op1, request, view)
    if first is issubclass(kind, OR):
        return first
    return await _ahas_permission(permission.op2, request, view)


async def _ahas_object_permission(permission: Policy, request: Request, view: View, obj: object) -> bool:
    kind = type(permission)
    if issubclass(kind, NOT):
        return not await _ahas_object_permission(permission.op1, request, view, obj)
    if issubclass(kind, AND):
        first = await _ahas_object_permission(permission.op1, request, view, obj)
        return first and await _ahas_object_permission(permission.op2, request, view, obj)
    if issubclass(kind, OR):
        # As in DRF: an operand counts only if it permits the request as well.
        for operand in (permission.op1, permission.op2):
            permits = await _ahas_permission(operand, request, view)
            if permits and await _ahas_object_permission(operand, request, view, obj):
                return True
        return False
    return bool(await _ask(permission, "has_object_permission", view, request, view, obj))


def allow_request(throttle: Policy, request: Request, view: View) -> bool:
    """Ask one throttle, from synchronous code."""
    if (awaited := getattr(throttle, "aallow_request", None)) is not None:
        return bool(async_to_sync(awaited)(request, view))
    return bool(throttle.allow_request(request, view))


async def refusing_throttles(throttles: Sequence[Policy], request: Request, view: View) -> list[Policy]:
    """The throttles that refuse. Every one is asked, also after one has refused: each keeps its own count."""
    refusing: list[Policy] = []
    for blocking, some in _runs(throttles, "allow_request", ready=True):
        if blocking:
            refusing += await view.hop(_refusing_in_turn, some, request, view)
            continue
        for throttle in some:
            if not await _ask(throttle, "allow_request", view, request, view):
                refusing.append(throttle)
    return refusing


def _refusing_in_turn(throttles: Sequence[Policy], request: Request, view: View) -> list[Policy]:
    return [throttle for throttle in throttles if not throttle.allow_request(request, view)]


async def _ask(policy: Policy, method: str, view: View, *args: object) -> object:
    awaited: Callable[..., Awaitable[object]] | None = getattr(policy, f"a{method}", None)
    if awaited is not None:
        return await awaited(*args)
    if is_in_place(policy, method):
        return getattr(policy, method)(*args)
    return await view.hop(getattr(policy, method), *args)


def _runs(policies: Iterable[Policy], method: str, *, ready: bool) -> Iterator[tuple[bool, list[Policy]]]:
    """Neighbours that may block, and neighbours that do not, in the order given."""
    for blocking, some in groupby(policies, key=lambda policy: _may_block(policy, method, ready=ready)):
        yield blocking, list(some)


def _may_block(policy: Policy, method: str, *, ready: bool) -> bool:
    """Whether all of this policy is to be asked on a thread. One with an awaited part is taken apart on the loop."""
    if hasattr(policy, "op1"):
        return (
            not _offers(policy, "ahas_permission")
            and not _offers(policy, "ahas_object_permission")
            and any(_may_block(each, method, ready=ready) for each in _operands(policy))
        )
    return not hasattr(policy, f"a{method}") and not (ready and is_in_place(policy, method))


def _offers(policy: Policy, name: str) -> bool:
    return hasattr(policy, name) or any(_offers(each, name) for each in _operands(policy))


def _operands(policy: Policy) -> list[Policy]:
    return [getattr(policy, name) for name in ("op1", "op2") if hasattr(policy, name)]
