"""Calling policies: authenticators, permissions and throttles, plain or awaited, alone or composed by `&`, `|`, `~`.

Where a policy offers the awaited method (`aauthenticate`, `ahas_permission`, `ahas_object_permission`,
`aallow_request`), that one is asked, from synchronous views as well; so is a method that is `async def` under its plain
name, for a coroutine that nobody awaits would pass as a yes. A synchronous policy is asked on the event loop if it says
that it does not block (`in_place.py`); neighbours that may block share one thread hop. The order is the list's.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, TypeVar

from asgiref.sync import async_to_sync
from rest_framework.permissions import AND, NOT, OR
from rest_framework.request import Request

from hansa.server.lifecycle.in_place import is_async, is_in_place
from hansa.server.lifecycle.threads import hop

T = TypeVar("T")
Policy = Any
"""A policy is what its duck says: DRF prescribes no base class, and composed permissions have none."""
View = Any
"""What policies are told of the view; nothing here asks it."""


def authenticate(authenticator: Policy, request: Request) -> tuple[Any, Any] | None:  # Any: user, credential
    """Ask one authenticator, from synchronous code."""
    ask = awaited_method(authenticator, "authenticate") or authenticator.authenticate
    found: tuple[Any, Any] | None = _now(ask(request))  # Any: as above
    return found


async def aauthenticate(authenticators: Sequence[Policy], request: Request) -> tuple[Policy, tuple[Any, Any]] | None:
    """The first authenticator that knows the caller, and what it says; None if none does."""
    for blocking, some in _runs(authenticators, "authenticate", ready=True):
        found = await hop(_ask_in_turn, some, request) if blocking else None
        if blocking and found is not None:
            return found
        for authenticator in () if blocking else some:
            pair: Any = await _ask(authenticator, "authenticate", request)  # Any: as in DRF, or None
            if pair is not None:
                return authenticator, pair
    return None


def _ask_in_turn(authenticators: Sequence[Policy], request: Request) -> tuple[Policy, tuple[Any, Any]] | None:
    for authenticator in authenticators:
        if (pair := _now(authenticator.authenticate(request))) is not None:
            return authenticator, pair
    return None


def has_permission(permission: Policy, request: Request, view: View) -> bool:
    """Ask one permission, from synchronous code."""
    if _offers(permission, "has_permission"):
        return async_to_sync(_ahas_permission)(permission, request, view)
    return bool(_now(permission.has_permission(request, view)))


def has_object_permission(permission: Policy, request: Request, view: View, obj: object) -> bool:
    """Ask one permission about an object, from synchronous code."""
    if _offers(permission, "has_permission") or _offers(permission, "has_object_permission"):
        return async_to_sync(_ahas_object_permission)(permission, request, view, obj)
    return bool(_now(permission.has_object_permission(request, view, obj)))


async def first_denying(permissions: Sequence[Policy], request: Request, view: View, *, ready: bool) -> Policy | None:
    """The first permission that says no; None if all say yes.

    `ready`: the request is authenticated, so that reading `request.user` does not block.
    """
    return await _first_denying(permissions, "has_permission", _ahas_permission, (request, view), ready=ready)


async def first_denying_object(
    permissions: Sequence[Policy], request: Request, view: View, obj: object, *, ready: bool
) -> Policy | None:
    """The first permission that says no to this object; None if all say yes."""
    asked = (request, view, obj)
    return await _first_denying(permissions, "has_object_permission", _ahas_object_permission, asked, ready=ready)


async def _first_denying(
    permissions: Sequence[Policy],
    method: str,
    awaited: Callable[..., Awaitable[bool]],
    asked: tuple[object, ...],
    *,
    ready: bool,
) -> Policy | None:
    for blocking, some in _runs(permissions, method, ready=ready):
        if blocking:
            denying = await hop(_denying_in_turn, some, method, asked)
            if denying is not None:
                return denying
            continue
        for permission in some:
            if not await awaited(permission, *asked):
                return permission
    return None


def _denying_in_turn(permissions: Sequence[Policy], method: str, asked: tuple[object, ...]) -> Policy | None:
    return next((each for each in permissions if not _now(getattr(each, method)(*asked))), None)


async def _ahas_permission(permission: Policy, request: Request, view: View) -> bool:
    kind = type(permission)
    if issubclass(kind, NOT):
        return not await _ahas_permission(permission.op1, request, view)
    if not issubclass(kind, AND | OR):
        return bool(await _ask(permission, "has_permission", request, view))
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
    return bool(await _ask(permission, "has_object_permission", request, view, obj))


def allow_request(throttle: Policy, request: Request, view: View) -> bool:
    """Ask one throttle, from synchronous code."""
    ask = awaited_method(throttle, "allow_request") or throttle.allow_request
    return bool(_now(ask(request, view)))


async def refusing_throttles(throttles: Sequence[Policy], request: Request, view: View, *, ready: bool) -> list[Policy]:
    """The throttles that refuse. Every one is asked, also after one has refused: each keeps its own count.

    `ready`: as above.
    """
    refusing: list[Policy] = []
    for blocking, some in _runs(throttles, "allow_request", ready=ready):
        if blocking:
            refusing += await hop(_refusing_in_turn, some, request, view)
            continue
        for throttle in some:
            if not await _ask(throttle, "allow_request", request, view):
                refusing.append(throttle)
    return refusing


def _refusing_in_turn(throttles: Sequence[Policy], request: Request, view: View) -> list[Policy]:
    return [throttle for throttle in throttles if not _now(throttle.allow_request(request, view))]


def longest_wait(refusing: list[Policy]) -> float | None:
    """Seconds until the last of these throttles lets the caller in again; None if none of them can say."""
    waits = [wait for throttle in refusing if (wait := throttle.wait()) is not None]
    return max(waits, default=None)


async def _ask(policy: Policy, method: str, *args: object) -> object:
    if not hasattr(policy, f"a{method}") and is_in_place(policy, method):
        answer = getattr(policy, method)(*args)
    elif (awaited := awaited_method(policy, method)) is not None:
        answer = awaited(*args)
    else:
        answer = await hop(getattr(policy, method), *args)
    return await answer if hasattr(answer, "__await__") else answer


def awaited_method(policy: Policy, method: str) -> Callable[..., Awaitable[Any]] | None:  # Any: as it says
    """The awaited version of a method, if the policy offers one under either name."""
    offered: Callable[..., Awaitable[Any]] | None = getattr(policy, f"a{method}", None)  # Any: as above
    if offered is None and is_async(plain := getattr(policy, method, None)):
        offered = plain
    return offered


def _now(answer: Any) -> Any:  # Any: whatever a policy says, or something to await for it
    """The answer itself, in synchronous code."""
    return async_to_sync(_settled)(answer) if hasattr(answer, "__await__") else answer


async def _settled(answer: Awaitable[T]) -> T:
    return await answer


def _runs(policies: Iterable[Policy], method: str, *, ready: bool) -> Iterator[tuple[bool, list[Policy]]]:
    """Neighbours that may block, and neighbours that do not, in the order given."""
    for blocking, some in groupby(policies, key=lambda policy: _may_block(policy, method, ready=ready)):
        yield blocking, list(some)


def _may_block(policy: Policy, method: str, *, ready: bool) -> bool:
    """Whether all of this policy is to be asked on a thread. One with an awaited part is taken apart on the loop."""
    if hasattr(policy, "op1"):
        return (
            not _offers(policy, "has_permission")
            and not _offers(policy, "has_object_permission")
            and any(_may_block(each, method, ready=ready) for each in _operands(policy))
        )
    return not (ready and is_in_place(policy, method)) and awaited_method(policy, method) is None


def _offers(policy: Policy, method: str) -> bool:
    return awaited_method(policy, method) is not None or any(_offers(each, method) for each in _operands(policy))


def _operands(policy: Policy) -> list[Policy]:
    return [getattr(policy, name) for name in ("op1", "op2") if hasattr(policy, name)]
