"""ATOMIC_REQUESTS for awaited views: Django refuses them, for want of a thread that owns the transaction."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from functools import wraps
from typing import Any

from django.db import connections, transaction

from hansa.server.lifecycle.threads import CURRENT, hop

ExceptionHandler = Callable[[Exception, dict[str, Any]], Awaitable[Any]]  # Any: DRF's context; a response, or None


def aliases(view: Callable[..., Any]) -> list[str]:  # Any: a view function
    """The databases whose transaction is to surround this view."""
    exempt: set[str] = getattr(view, "_non_atomic_requests", set())
    return [
        name for name, database in connections.settings.items() if database["ATOMIC_REQUESTS"] and name not in exempt
    ]


def is_requested() -> bool:
    """Whether any database has ATOMIC_REQUESTS."""
    return any(database["ATOMIC_REQUESTS"] for database in connections.settings.values())


def rolling_back(handler: ExceptionHandler) -> ExceptionHandler:
    """An awaited exception handler whose answers roll back what the request has stored.

    DRF's own handler does that by `set_rollback`. Asked on the event loop it does not meet the transaction, which is
    open on the request's thread.
    """
    from rest_framework.views import set_rollback  # not before Django is set up

    @wraps(handler)
    async def rolled_back(error: Exception, context: dict[str, Any]) -> Any:  # Any: as above
        response = await handler(error, context)
        if response is not None and is_requested():
            await hop(set_rollback)
        return response

    return rolled_back


@asynccontextmanager
async def transactions(names: list[str]) -> AsyncIterator[None]:
    """Transactions on the request's thread: committed at the end, rolled back on an error or when the client has gone.

    The thread is kept meanwhile, also by a view that waits.
    """
    stack = ExitStack()
    if borrowed := CURRENT.get():
        borrowed.pins += 1
    try:
        try:
            for name in names:
                await hop(stack.enter_context, transaction.atomic(using=name))
            yield
        except BaseException as error:
            await _surely(stack, error)
            raise
        await _surely(stack, None)
    finally:
        if borrowed:
            borrowed.pins -= 1


async def _surely(stack: ExitStack, error: BaseException | None) -> None:
    """End the transactions, even while the request is being cancelled; it is then cancelled when they have ended."""
    cancelled = None
    ending = asyncio.ensure_future(hop(stack.__exit__, type(error) if error else None, error, None))
    while not ending.done():
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError as cancellation:
            if ending.cancelled():
                raise
            cancelled = cancellation
    ending.result()
    if cancelled is not None:
        raise cancelled
