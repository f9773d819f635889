"""Requests that wait for something to happen, without a thread and without a database connection."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from hansa.server.lifecycle.body import UnreadRequest
from hansa.server.trainings.hints import HINTS

T = TypeVar("T")


async def wait_for(
    look: Callable[[], Awaitable[T | None]], *, key: UUID, seconds: float, request: UnreadRequest, settle: float = 0
) -> T | None:
    """Look; if there is nothing, wait to be woken under `key` and look again, until there is or the time is over.

    `settle` seconds pass between being woken and looking, where several changes may be one answer. The waiter is
    registered before the first look, so that nothing can happen in between unseen. A client that has
    gone away is not answered: it must not lease what it will never hear of.
    """
    end = asyncio.get_running_loop().time() + seconds
    gone = asyncio.create_task(request.disconnected())
    try:
        with HINTS.waiter(key) as woken:
            while True:
                woken.clear()
                if (found := await look()) is not None:
                    return found
                left = end - asyncio.get_running_loop().time()
                if left <= 0 or gone.done() or HINTS.closing:
                    return None
                wake = asyncio.create_task(woken.wait())
                try:
                    await asyncio.wait({wake, gone}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    wake.cancel()
                if settle and not gone.done() and not HINTS.closing:
                    await asyncio.sleep(min(settle, left))
                if gone.done():
                    return None
    finally:
        gone.cancel()
